//! Who a request comes from: an app's API key, or an access token of Entra ID.
//!
//! Pure: it is given headers, what the configuration knows, the signing keys and the moment, and says which app
//! it is. It knows nothing of models, backends or the rest of the crate, fetches no key and reads no clock:
//! every `now` is Unix seconds.
//!
//! `credential` tells what a request presents, `keys` whose key it is, and `verifier` whose token. What a token
//! has to fulfil stands once, in `walk`: the verifier ends it at the first refusal, `inspect` goes to the end.

pub mod caller;
mod claims;
mod compact;
pub mod credential;
pub mod grant;
mod header;
pub mod inspect;
pub mod issuer;
mod json;
pub mod key_text;
pub mod keys;
mod seen;
pub mod signing_keys;
pub mod token_error;
pub mod verifier;
mod walk;

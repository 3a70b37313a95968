//! The `firstlight` command. Everything is in the library.

use std::process::ExitCode;

/// Pingora relays faster with it; built without transparent huge pages, which would triple the memory of an
/// idle stream.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    firstlight::cli::main()
}

//! Why a head is refused.

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// A line feed without a carriage return.
    BareLineFeed,
    /// A control character, a carriage return in the middle of a line among them.
    ControlCharacter,
    /// Something else than a method, a target and a version with one space between them.
    RequestLine,
    /// A target with a space, a control character, a fragment or what is not ASCII.
    Target,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// A field that goes on in the next line.
    FoldedLine,
    /// A field whose name is no token, or followed by a space.
    FieldName,
    /// An underscore in a name: some servers read it as a hyphen.
    Underscore,
    /// No Host, two of them, or one that is no host.
    Host,
    /// A length that is not one number, given once.
    ContentLength,
    /// A transfer coding that is not exactly one `chunked`, or one in HTTP/1.0.
    TransferEncoding,
    /// A transfer coding that exists and is not served.
    TransferCoding,
    /// A length and a transfer coding.
    TwoFramings,
    /// A field about the connection in h2, where there is none.
    ConnectionField,
    /// An expectation that is not `100-continue`.
    Expectation,
    /// A head above its size.
    HeaderBytes,
    /// More fields than allowed.
    HeaderFields,
    /// A head that did not come in time.
    HeaderTimeout,
}

impl Malformed {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::BareLineFeed,
        Self::ControlCharacter,
        Self::RequestLine,
        Self::Target,
        Self::Version,
        Self::FoldedLine,
        Self::FieldName,
        Self::Underscore,
        Self::Host,
        Self::ContentLength,
        Self::TransferEncoding,
        Self::TransferCoding,
        Self::TwoFramings,
        Self::ConnectionField,
        Self::Expectation,
        Self::HeaderBytes,
        Self::HeaderFields,
        Self::HeaderTimeout,
    ];

    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::HeaderTimeout => 408,
            Self::Expectation => 417,
            Self::HeaderBytes | Self::HeaderFields => 431,
            Self::TransferCoding => 501,
            Self::BareLineFeed
            | Self::ControlCharacter
            | Self::RequestLine
            | Self::Target
            | Self::Version
            | Self::FoldedLine
            | Self::FieldName
            | Self::Underscore
            | Self::Host
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::TwoFramings
            | Self::ConnectionField => 400,
        }
    }

    /// A word for it: the code of the answer, and the reason in the metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BareLineFeed => "bare_line_feed",
            Self::ControlCharacter => "control_character",
            Self::RequestLine => "request_line",
            Self::Target => "target",
            Self::Version => "version",
            Self::FoldedLine => "folded_line",
            Self::FieldName => "field_name",
            Self::Underscore => "underscore",
            Self::Host => "host",
            Self::ContentLength => "content_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::TransferCoding => "transfer_coding",
            Self::TwoFramings => "two_framings",
            Self::ConnectionField => "connection_field",
            Self::Expectation => "expectation",
            Self::HeaderBytes => "header_bytes",
            Self::HeaderFields => "header_fields",
            Self::HeaderTimeout => "header_timeout",
        }
    }

    /// What is wrong, and what to do about it.
    pub fn message(self) -> &'static str {
        match self {
            Self::BareLineFeed => {
                "A line of the request's head ends without CR; end lines with CRLF."
            }
            Self::ControlCharacter => "The request's head holds a control character; send none.",
            Self::RequestLine => {
                "The request line is not a method, a target and a version; send one that is."
            }
            Self::Target => {
                "The request target holds a fragment, a space or what is not ASCII; percent-encode it."
            }
            Self::Version => "Only HTTP/1.1 and HTTP/2 are spoken here; use one of them.",
            Self::FoldedLine => "A header goes on in the next line; send it on one line.",
            Self::FieldName => "A header's name is not a plain word and a colon; send one that is.",
            Self::Underscore => {
                "A header's name has an underscore, which servers read in two ways; use hyphens."
            }
            Self::Host => "The request needs exactly one Host header with a host in it; send one.",
            Self::ContentLength => "Content-Length must be one number, given once; send it so.",
            Self::TransferEncoding => {
                "Transfer-Encoding must be exactly `chunked`, in HTTP/1.1; send it so."
            }
            Self::TransferCoding => {
                "No transfer coding but `chunked` is served; send the body without another."
            }
            Self::TwoFramings => {
                "The request has Content-Length and Transfer-Encoding; send one of them."
            }
            Self::ConnectionField => {
                "The request has a header about the connection, which HTTP/2 does not know; send none."
            }
            Self::Expectation => {
                "The expectation cannot be met; only `Expect: 100-continue` is known here."
            }
            Self::HeaderBytes => "The request's head is too large; send fewer or shorter headers.",
            Self::HeaderFields => "The request has too many headers; send fewer.",
            Self::HeaderTimeout => "The request's head did not arrive in time; send it again.",
        }
    }
}

//! The blob service's own errors, by the codes that its clients know.

use domain::{Error, ErrorKind};

/// 403: the signature, token or URL does not hold.
pub fn authentication_failed(reason: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Forbidden,
        "AuthenticationFailed",
        format!(
            "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature. {reason}"
        ),
    )
}

/// 403: what was proven does not allow this.
pub fn not_permitted(code: &'static str) -> Error {
    let message = match code {
        "AuthorizationResourceTypeMismatch" => {
            "This request is not authorized to perform this operation using this resource type."
        }
        "AuthorizationPermissionMismatch" => {
            "This request is not authorized to perform this operation using this permission."
        }
        _ => "This request is not authorized to perform this operation.",
    };
    Error::new(ErrorKind::Forbidden, code, message)
}

/// 404 of an account.
pub fn account_not_found() -> Error {
    Error::not_found(
        "ResourceNotFound",
        "The specified resource does not exist: there is no such storage account.",
    )
}

/// 404 of a container.
pub fn container_not_found() -> Error {
    Error::not_found(
        "ContainerNotFound",
        "The specified container does not exist.",
    )
}

/// 404 of a blob.
pub fn blob_not_found() -> Error {
    Error::not_found("BlobNotFound", "The specified blob does not exist.")
}

/// 409: a blob is there already.
pub fn blob_exists() -> Error {
    Error::conflict("BlobAlreadyExists", "The specified blob already exists.")
}

/// 409: the blob is of the other kind.
pub fn wrong_kind() -> Error {
    Error::conflict(
        "InvalidBlobType",
        "The blob type is invalid for this operation.",
    )
}

/// 412: a condition header does not hold.
pub fn condition_not_met() -> Error {
    Error::new(
        ErrorKind::PreconditionFailed,
        "ConditionNotMet",
        "The condition specified using HTTP conditional header(s) is not met.",
    )
}

/// 304: what the client has is still true.
pub fn not_modified() -> Error {
    Error::new(
        ErrorKind::PreconditionFailed,
        "NotModified",
        "The blob did not change.",
    )
}

/// 416: outside the blob.
pub fn invalid_range() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidRange",
        "The range specified is invalid for the current size of the resource.",
    )
}

/// 400: pages are 512 bytes.
pub fn invalid_page_range() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidPageRange",
        "The page range specified is invalid: it must begin and end on 512 bytes and lie inside the blob.",
    )
}

/// 400: a header's value.
pub fn invalid_header(name: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidHeaderValue",
        format!("The value for one of the HTTP headers is not in the correct format: {name}."),
    )
}

/// 400: a query option's value.
pub fn invalid_query(name: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidQueryParameterValue",
        format!(
            "Value for one of the query parameters specified in the request URI is invalid: {name}."
        ),
    )
}

/// 400: a name that no container or blob can have.
pub fn invalid_name() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidResourceName",
        "The specified resource name contains invalid characters or has a length that is not allowed.",
    )
}

/// 400: a block id or an unknown block.
pub fn invalid_block_list() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidBlockList",
        "The specified block list is invalid: a block in it was never uploaded.",
    )
}

/// 413.
pub fn too_large(bytes_max: u64) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        "RequestBodyTooLarge",
        format!(
            "The request body is too large and exceeds the maximum permissible limit of {bytes_max} bytes."
        ),
    )
}

/// 400: the bytes are not those that the client summed.
pub fn digest_mismatch(code: &'static str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        code,
        "The checksum in the request does not match the one calculated by the server; nothing was stored. Send the bytes again.",
    )
}

/// 400: a part of the blob service that this server does not have.
pub fn unsupported(what: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "FeatureNotSupported",
        format!(
            "{what} is not offered by this server; docs/differences-from-azure.md lists what is."
        ),
    )
}

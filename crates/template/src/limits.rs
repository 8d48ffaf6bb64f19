//! What a template may ask for. Source: the service's published template limits, where it has one.

/// The longest body of a deployment, in bytes.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// How deep JSON may nest.
pub const DEPTH_MAX: usize = 100;
/// Values in one body.
pub const VALUES_MAX: usize = 500_000;
/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 24_576;
/// How deep an expression may nest.
pub const EXPRESSION_DEPTH_MAX: usize = 64;
/// Parameters of one template.
pub const PARAMETERS_MAX: usize = 256;
/// Variables of one template.
pub const VARIABLES_MAX: usize = 512;
/// Outputs of one template.
pub const OUTPUTS_MAX: usize = 64;
/// Resources of one template, loops counted out.
pub const RESOURCES_MAX: usize = 800;
/// Turns of one loop.
pub const COPIES_MAX: usize = 800;
/// How deep deployments may nest.
pub const NESTING_MAX: usize = 5;
/// Items that `range` makes.
pub const RANGE_ITEMS_MAX: i64 = 10_000;
/// The longest text that `padLeft` makes, in characters.
pub const PAD_CHARS_MAX: i64 = 4_096;
/// What evaluating one part of a template may build, in bytes.
pub const BUILT_BYTES_MAX: usize = 32 << 20;
/// Calls of functions while one part of a template is evaluated.
pub const CALLS_MAX: usize = 500_000;

//! Regions: a short name, a display name, and case-insensitive look-up by either.

/// One region of the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The name in ids and paths: `eastus2`.
    pub name: String,
    /// The name in responses: `East US 2`.
    pub display_name: String,
    /// Whether zone-redundant storage may be asked for.
    pub has_zones: bool,
}

/// The regions of the installation, in the order of its configuration.
#[derive(Clone, Debug, Default)]
pub struct Regions(Vec<Region>);

impl Regions {
    /// Returns the set; the first region is the default one.
    pub fn new(regions: Vec<Region>) -> Self {
        Self(regions)
    }

    /// Returns the region called `name`, short or display form, whatever its case and spaces.
    pub fn find(&self, name: &str) -> Option<&Region> {
        let wanted = normalise(name);
        self.0.iter().find(|region| region.name == wanted)
    }

    /// Returns all regions.
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.0.iter()
    }
}

/// Returns the short form of a region's name: `East US 2` becomes `eastus2`.
pub fn normalise(name: &str) -> String {
    name.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

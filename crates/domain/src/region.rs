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
    ///
    /// Short names win: a display name is free text and may look like another region's short name.
    pub fn find(&self, name: &str) -> Option<&Region> {
        let wanted = normalise(name);
        let by_name = self.0.iter().find(|region| region.name == wanted);
        by_name.or_else(|| {
            self.0
                .iter()
                .find(|region| normalise(&region.display_name) == wanted)
        })
    }

    /// Returns the short name of a region in either form; of one that is not configured any more, what it looks like.
    pub fn short(&self, name: &str) -> String {
        self.find(name)
            .map_or_else(|| normalise(name), |region| region.name.clone())
    }

    /// Returns all regions.
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.0.iter()
    }
}

/// Returns the short form of a region's name: `East US 2` becomes `eastus2`.
pub fn normalise(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_whitespace())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Short and display names of the regions that the original has, so that answers read as clients expect.
const KNOWN: [(&str, &str); 30] = [
    ("eastus", "East US"),
    ("eastus2", "East US 2"),
    ("westus", "West US"),
    ("westus2", "West US 2"),
    ("westus3", "West US 3"),
    ("centralus", "Central US"),
    ("northcentralus", "North Central US"),
    ("southcentralus", "South Central US"),
    ("westcentralus", "West Central US"),
    ("canadacentral", "Canada Central"),
    ("canadaeast", "Canada East"),
    ("brazilsouth", "Brazil South"),
    ("northeurope", "North Europe"),
    ("westeurope", "West Europe"),
    ("uksouth", "UK South"),
    ("ukwest", "UK West"),
    ("francecentral", "France Central"),
    ("germanywestcentral", "Germany West Central"),
    ("norwayeast", "Norway East"),
    ("swedencentral", "Sweden Central"),
    ("switzerlandnorth", "Switzerland North"),
    ("italynorth", "Italy North"),
    ("spaincentral", "Spain Central"),
    ("eastasia", "East Asia"),
    ("southeastasia", "Southeast Asia"),
    ("japaneast", "Japan East"),
    ("australiaeast", "Australia East"),
    ("centralindia", "Central India"),
    ("southafricanorth", "South Africa North"),
    ("centraluseuap", "Central US EUAP"),
];

/// Returns the region of a short name; one that the original lacks is displayed as it is written.
pub fn known(name: &str) -> Region {
    let short = normalise(name);
    let display = KNOWN
        .iter()
        .find(|(known, _)| *known == short)
        .map_or(name, |(_, display)| display);
    Region {
        display_name: display.to_owned(),
        name: short,
        has_zones: true,
    }
}

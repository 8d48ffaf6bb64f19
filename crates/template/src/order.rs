//! The resources of a template, by name and in order.

use std::collections::HashMap;

use domain::Result;
use serde_json::{Map, Value};

use crate::fault::wrong;

/// The type of nested deployments.
pub(crate) const DEPLOYMENTS: &str = "Microsoft.Resources/deployments";
/// The type of groups.
pub(crate) const GROUPS: &str = "Microsoft.Resources/resourceGroups";

/// One resource of a template.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its id, as the template writes its names.
    pub id: String,
    /// Its type, `Microsoft.Compute/galleries/images`.
    pub type_name: String,
    /// Its names, `gallery/image`.
    pub name: String,
    /// The api-version in which its body is written.
    pub api_version: String,
    /// The group that it lies in; empty when it lies at the subscription.
    pub group: String,
    /// Whether its condition holds.
    pub is_wanted: bool,
    /// Whether the template only refers to it.
    pub is_existing: bool,
    /// Resources that must be there before, by their place in the list.
    pub depends_on: Vec<usize>,
    pub(crate) symbolic: Option<String>,
    pub(crate) loops: Vec<(String, usize)>,
    pub(crate) raw: Map<String, Value>,
    pub(crate) wants: Vec<String>,
}

/// All resources of a template.
#[derive(Clone, Debug, Default)]
pub struct Expanded {
    /// The resources, in the order of the template.
    pub resources: Vec<Planned>,
    pub(crate) names: HashMap<String, String>,
    /// Loops that turn no time: what waits for them waits for nothing.
    pub(crate) empty_loops: Vec<String>,
}

impl Planned {
    /// Whether it is a nested deployment.
    pub fn is_deployment(&self) -> bool {
        self.type_name.eq_ignore_ascii_case(DEPLOYMENTS)
    }

    /// Whether it is a group.
    pub fn is_group(&self) -> bool {
        self.type_name.eq_ignore_ascii_case(GROUPS)
    }

    /// Returns how sentences name it: `resource '…'`.
    pub fn part(&self) -> String {
        format!("resource '{}'", self.id)
    }

    pub(crate) fn is_named(&self, wanted: &str) -> bool {
        let same = |known: &str| known.eq_ignore_ascii_case(wanted);
        let relative = || {
            self.id
                .rsplit("/providers/")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let group = || self.is_group() && same(&format!("{GROUPS}/{}", self.name));
        let looped = || self.loops.first().is_some_and(|(label, _)| same(label));
        same(&self.id)
            || same(&self.name)
            || self.symbolic.as_deref().is_some_and(same)
            || same(&relative())
            || group()
            || looped()
    }
}

impl Expanded {
    /// Makes the resources findable by name; two with one id are refused.
    pub(crate) fn name_all(&mut self) -> Result<()> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (at, planned) in self.resources.iter().enumerate() {
            let key = planned.id.to_ascii_lowercase();
            let before = seen.insert(key, at).and_then(|at| self.resources.get(at));
            if before.is_some_and(|before| before.is_wanted && planned.is_wanted) {
                return Err(wrong(format!(
                    "The resource '{}' is defined multiple times in a template. Please see \
                     https://aka.ms/arm-template/#resources for usage details",
                    planned.id.rsplit("/providers/").next().unwrap_or_default()
                )));
            }
            if let Some(symbolic) = &planned.symbolic {
                self.names.insert(symbolic.clone(), planned.id.clone());
            }
            self.names
                .entry(planned.name.to_ascii_lowercase())
                .or_insert_with(|| planned.id.clone());
        }
        Ok(())
    }

    /// Finds what each resource must wait for; a circle is refused.
    pub(crate) fn resolve(&mut self) -> Result<()> {
        let keys: Vec<String> = self
            .resources
            .iter()
            .map(|planned| planned.id.to_ascii_lowercase())
            .collect();
        let mut all = Vec::with_capacity(keys.len());
        for (at, planned) in self.resources.iter().enumerate() {
            let mut needed = self.wanted_by(at, planned)?;
            // What lies in another resource of the template waits for it, said or not.
            let own = keys.get(at).map(String::as_str).unwrap_or_default();
            let holds = |key: &String| {
                own.strip_prefix(key.as_str())
                    .is_some_and(|r| r.starts_with('/'))
            };
            let around = keys.iter().enumerate().filter(|(_, key)| holds(key));
            needed.extend(around.map(|(other, _)| other));
            needed.sort_unstable();
            needed.dedup();
            all.push(needed);
        }
        for (planned, needed) in self.resources.iter_mut().zip(all) {
            planned.depends_on = needed;
        }
        self.check_circles()
    }

    /// Returns the places of the resources that `dependsOn` names.
    fn wanted_by(&self, at: usize, planned: &Planned) -> Result<Vec<usize>> {
        let mut needed = Vec::new();
        for wanted in &planned.wants {
            let wanted = wanted.trim_end_matches('/');
            let named = self.resources.iter().enumerate();
            let named = named.filter(|(other, resource)| *other != at && resource.is_named(wanted));
            let before = needed.len();
            needed.extend(named.map(|(other, _)| other));
            if needed.len() > before || self.is_empty_loop(wanted) {
                continue;
            }
            if planned.is_named(wanted) {
                return Err(circular(&planned.id));
            }
            return Err(wrong(format!(
                "The resource '{wanted}' is not defined in the template. Please see https://aka.ms/arm-syntax for usage details."
            )));
        }
        Ok(needed)
    }

    fn is_empty_loop(&self, wanted: &str) -> bool {
        self.empty_loops
            .iter()
            .any(|label| label.eq_ignore_ascii_case(wanted))
    }

    fn check_circles(&self) -> Result<()> {
        let mut left: Vec<usize> = self.resources.iter().map(|p| p.depends_on.len()).collect();
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); left.len()];
        for (at, planned) in self.resources.iter().enumerate() {
            for needed in &planned.depends_on {
                if let Some(users) = users.get_mut(*needed) {
                    users.push(at);
                }
            }
        }
        let mut ready: Vec<usize> = (0..left.len())
            .filter(|at| left.get(*at) == Some(&0))
            .collect();
        let mut done = 0;
        while let Some(at) = ready.pop() {
            done += 1;
            for user in users.get(at).into_iter().flatten() {
                if let Some(count) = left.get_mut(*user) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(*user);
                    }
                }
            }
        }
        if done == left.len() {
            return Ok(());
        }
        let stuck = left.iter().position(|count| *count > 0);
        let id = stuck
            .and_then(|at| self.resources.get(at))
            .map(|p| p.id.as_str());
        Err(circular(id.unwrap_or_default()))
    }

    /// Returns the place of a resource in the list, by its id.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.resources
            .iter()
            .position(|planned| planned.id.eq_ignore_ascii_case(id))
    }
}

fn circular(id: &str) -> domain::Error {
    wrong(format!(
        "Circular dependency detected on resource: '{id}'. Please see https://aka.ms/arm-template/#resources for usage details."
    ))
}

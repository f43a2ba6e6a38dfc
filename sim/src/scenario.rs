//! A scenario: a whole world before its first moment, what goes wrong in it, and how long. A file of JSON,
//! so that a failure can be kept, read and run again.
//!
//! Until `chaos-ms` things go wrong; then everything heals, and within `patience-ms` every run must be over.
//! What a file must look like is in `docs/scenario.schema.json`. It must never panic on a file, however bad.

mod bad;
mod check;
pub(crate) mod foreign;

use scalr_core::clock::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::bad::BadScenario;
use crate::{
    fault::{Fault, What},
    world::{
        setup::{RunSetup, Setup},
        snag::{Moment, Planned, Strike},
        truth::FiredWhat,
    },
};

/// The one version of scenario files that there is.
pub const VERSION: u32 = 1;

/// The largest file that is read: a hundred thousand runs fit.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;

/// A whole world before its first moment, what goes wrong in it, and how long. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// The version of the format.
    #[schemars(schema_with = "foreign::version")]
    pub version: u32,
    /// What it shows, for people.
    #[serde(default)]
    pub about: String,
    /// For how long things go wrong; then everything heals.
    #[serde(default = "chaos_ms")]
    pub chaos_ms: u64,
    /// How long after that every run must be over.
    #[serde(default = "patience_ms")]
    pub patience_ms: u64,
    /// What the world consists of.
    #[serde(default)]
    pub world: Setup,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

fn chaos_ms() -> u64 {
    300_000
}

/// A node may take `startup-max` (6 h) to come, and a lost worker half an hour to be missed.
fn patience_ms() -> u64 {
    8 * 3_600_000
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            version: VERSION,
            about: String::new(),
            chaos_ms: chaos_ms(),
            patience_ms: patience_ms(),
            world: Setup::default(),
            faults: Vec::new(),
        }
    }
}

impl Scenario {
    /// Reads the bytes of a scenario file; `name` is how errors call it.
    pub fn read_bytes(name: &str, bytes: &[u8]) -> Result<Self, BadScenario> {
        match std::str::from_utf8(bytes) {
            // As editors of another system begin a file.
            Ok(text) => Self::read(name, text.strip_prefix('\u{feff}').unwrap_or(text)),
            Err(error) => {
                let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
                Err(BadScenario::no_text(name, before))
            }
        }
    }

    /// Reads a scenario file; `name` is how errors call it.
    pub fn read(name: &str, text: &str) -> Result<Self, BadScenario> {
        if text.len() > BYTES_MAX {
            return Err(BadScenario::too_large(name, text.len()));
        }
        if let Some(mistake) = check::of_another_version(text) {
            return Err(BadScenario::mistake(name, text, mistake));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let scenario: Self = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| BadScenario::unreadable(name, text, &error))?;
        json.end().map_err(|error| BadScenario::trailing(name, &error))?;
        match check::first_mistake(&scenario, text) {
            None => Ok(scenario),
            Some(mistake) => Err(BadScenario::mistake(name, text, mistake)),
        }
    }

    /// Writes it as a file, without what is as it would be anyway.
    pub fn write(&self) -> String {
        let full = serde_json::to_value(self).unwrap_or_default();
        let mut plain = Self::default();
        plain.world.runs.push(RunSetup::default());
        let plain = serde_json::to_value(plain).unwrap_or_default();
        let mut text = serde_json::to_string_pretty(&bad::without_defaults(full, &plain)).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The JSON Schema of scenario files, as text.
    pub fn schema() -> String {
        let mut schema = schemars::schema_for!(Self).to_value();
        foreign::forget_large_defaults(&mut schema);
        let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
        text.push('\n');
        text
    }

    /// When everything heals.
    pub fn heals_at(&self) -> Millis {
        Millis(self.chaos_ms)
    }

    /// The moment at which every run must be over.
    pub fn deadline(&self) -> Millis {
        self.heals_at() + self.patience_ms
    }

    /// Its world, with all that goes wrong in it, under the dice of this seed.
    pub fn setup(&self, seed: u64) -> Setup {
        let mut setup = self.world.clone();
        setup.seed = seed;
        for fault in &self.faults {
            match &fault.what {
                What::Snag(snag) => setup.snags.push(snag.clone()),
                What::Strike(planned) => setup.strikes.push(planned.clone()),
            }
        }
        setup.strikes.push(Planned { when: Moment::At(self.chaos_ms), what: Strike::Heal });
        setup
    }

    /// Which fault has fired, by its place in [`Scenario::faults`]; none of what the world brings itself.
    pub fn fault_of(&self, fired: FiredWhat) -> Option<usize> {
        let (is_snag, number) = match fired {
            FiredWhat::Snag { number, .. } => (true, number.checked_sub(self.world.snags.len())?),
            FiredWhat::Strike(place) => (false, place.checked_sub(self.world.strikes.len())?),
        };
        let mut places = (0..).zip(&self.faults);
        let mut meant = places.by_ref().filter(|(_, fault)| matches!(fault.what, What::Snag(_)) == is_snag);
        meant.nth(number).map(|(place, _)| place)
    }
}

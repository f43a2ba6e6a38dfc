//! What runs Jobs, by name.

pub mod local;

use std::str::FromStr;

/// A way to run Jobs that this version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// [`local::LocalCluster`]: processes on this machine, without isolation.
    Local,
}

/// Why a name is no driver of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// It will be one.
    #[error("the driver `kubernetes-job` is not part of this version yet: use `local`")]
    NotBuiltIn,
    /// It is none.
    #[error("`{0}` is no driver: use `local`")]
    Unknown(String),
}

impl Driver {
    /// Its name, as the options and Scalr have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
        }
    }
}

impl FromStr for Driver {
    type Err = DriverError;

    fn from_str(name: &str) -> Result<Self, DriverError> {
        match name {
            "local" => Ok(Self::Local),
            "kubernetes-job" => Err(DriverError::NotBuiltIn),
            other => Err(DriverError::Unknown(other.chars().take(64).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_is_not_there_is_one_clear_line() {
        assert_eq!("local".parse(), Ok(Driver::Local));
        let said = ["kubernetes-job", "docker"].map(|name| match Driver::from_str(name) {
            Ok(driver) => driver.as_str().to_owned(),
            Err(error) => error.to_string(),
        });
        expect_test::expect![[r"
            the driver `kubernetes-job` is not part of this version yet: use `local`
            `docker` is no driver: use `local`"]]
        .assert_eq(&said.join("\n"));
    }
}

//! What runs Jobs, by name.

pub mod kube;
pub mod local;

mod marks;

use std::str::FromStr;

pub use self::{
    kube::{KubeCluster, KubeOptions, TemplateKind, access, crd, server_label},
    marks::is_label,
};

/// A way to run Jobs that this version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// [`kube::KubeCluster`]: Jobs of a Kubernetes namespace.
    KubernetesJob,
    /// [`local::LocalCluster`]: processes on this machine, without isolation.
    Local,
}

/// Why a name is no driver of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no driver: use `kubernetes-job` or `local`")]
pub struct UnknownDriver(String);

impl Driver {
    /// Its name, as the options and Scalr have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KubernetesJob => "kubernetes-job",
            Self::Local => "local",
        }
    }
}

impl FromStr for Driver {
    type Err = UnknownDriver;

    fn from_str(name: &str) -> Result<Self, UnknownDriver> {
        match name {
            "local" => Ok(Self::Local),
            "kubernetes-job" => Ok(Self::KubernetesJob),
            other => Err(UnknownDriver(other.chars().take(64).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_is_not_there_is_one_clear_line() {
        for driver in [Driver::KubernetesJob, Driver::Local] {
            assert_eq!(driver.as_str().parse(), Ok(driver));
        }
        expect_test::expect!["`docker` is no driver: use `kubernetes-job` or `local`"]
            .assert_eq(&Driver::from_str("docker").unwrap_err().to_string());
    }
}

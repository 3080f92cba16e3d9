//! What cargo says about the workspace: members, their edges, their binaries, all packages with licences.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::child::Call;
use crate::workspace::Workspace;

/// `cargo metadata`, parsed.
#[derive(Debug)]
pub(crate) struct Metadata {
    members: Vec<Member>,
    licences: BTreeMap<String, String>,
}

/// A package of this workspace.
#[derive(Debug)]
pub(crate) struct Member {
    /// The package's name.
    pub(crate) name: String,
    /// Its directory.
    pub(crate) directory: std::path::PathBuf,
    /// The names of members that it depends on, other than for its tests.
    pub(crate) edges: BTreeSet<String>,
    binaries: Vec<String>,
    on_host: bool,
}

impl Metadata {
    /// Asks cargo.
    pub(crate) fn read(workspace: &Workspace) -> Result<Self> {
        let text = Call::new("cargo")
            .directory(workspace.root())
            .args(["metadata", "--format-version", "1", "--locked"])
            .output()?;
        let json: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
        Ok(Self::parse(&json))
    }

    fn parse(json: &Value) -> Self {
        let ids = |key: &str| -> BTreeSet<String> { strings(&json[key]).collect() };
        let (all, default) = (ids("workspace_members"), ids("workspace_default_members"));
        let own = |package: &&Value| package["id"].as_str().is_some_and(|id| all.contains(id));
        let packages = || json["packages"].as_array().into_iter().flatten();
        let names: BTreeSet<String> = packages().filter(own).map(name).collect();
        let members = packages()
            .filter(own)
            .map(|package| Member {
                name: name(package),
                directory: directory(package),
                edges: dependencies(package)
                    .filter(|edge| names.contains(edge))
                    .collect(),
                binaries: binaries(package),
                on_host: package["id"]
                    .as_str()
                    .is_some_and(|id| default.contains(id)),
            })
            .collect();
        let licences = packages()
            .filter(|package| !own(package))
            .map(|package| {
                let version = package["version"].as_str().unwrap_or_default();
                let licence = package["license"].as_str().unwrap_or_default();
                (format!("{} {version}", name(package)), licence.to_owned())
            })
            .collect();
        Self { members, licences }
    }

    /// All members of the workspace.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The members that only make sense on the bare target.
    pub(crate) fn bare_members(&self) -> impl Iterator<Item = &str> {
        self.members
            .iter()
            .filter(|member| !member.on_host)
            .map(|member| member.name.as_str())
    }

    /// The binaries of one member.
    pub(crate) fn binaries(&self, member: &str) -> Vec<String> {
        self.members
            .iter()
            .filter(|candidate| candidate.name == member)
            .flat_map(|candidate| candidate.binaries.iter().cloned())
            .collect()
    }

    /// Foreign packages ("name version") and their licence expressions.
    pub(crate) fn licences(&self) -> &BTreeMap<String, String> {
        &self.licences
    }
}

fn strings(value: &Value) -> impl Iterator<Item = String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
}

fn name(package: &Value) -> String {
    package["name"].as_str().unwrap_or_default().to_owned()
}

fn directory(package: &Value) -> std::path::PathBuf {
    let manifest = package["manifest_path"].as_str().unwrap_or_default();
    std::path::Path::new(manifest)
        .parent()
        .map(std::path::Path::to_path_buf)
        .unwrap_or_default()
}

fn dependencies(package: &Value) -> impl Iterator<Item = String> {
    package["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
        .map(name)
}

fn binaries(package: &Value) -> Vec<String> {
    let is_binary = |target: &&Value| strings(&target["kind"]).any(|kind| kind == "bin");
    package["targets"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(is_binary)
        .map(name)
        .collect()
}

//! The run as a whole: what it works on, what was found so far, and the summary.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::build::bare::{self, Images};
use crate::setup::toolchain::Toolchain;
use crate::workspace::Workspace;

/// How much of what can go on for long is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// What fits a usual run.
    Usual,
    /// All that was ever asked for.
    Long,
}

/// A test run under way.
#[derive(Debug)]
pub(crate) struct Suite<'a> {
    workspace: &'a Workspace,
    toolchain: Toolchain,
    length: Length,
    images: Option<Images>,
    current: &'static str,
    passed: u64,
    skipped: u64,
    failures: Vec<String>,
    times: Vec<(&'static str, Duration)>,
}

impl<'a> Suite<'a> {
    pub(crate) fn new(workspace: &'a Workspace, toolchain: Toolchain, length: Length) -> Self {
        Self {
            workspace,
            toolchain,
            length,
            images: None,
            current: "",
            passed: 0,
            skipped: 0,
            failures: Vec::new(),
            times: Vec::new(),
        }
    }

    pub(crate) fn workspace(&self) -> &'a Workspace {
        self.workspace
    }

    pub(crate) fn length(&self) -> Length {
        self.length
    }

    pub(crate) fn toolchain(&self) -> Toolchain {
        self.toolchain
    }

    /// The bare images, built once per run.
    pub(crate) fn images(&mut self) -> Result<Images> {
        if let Some(images) = &self.images {
            return Ok(images.clone());
        }
        let images = bare::build(self.workspace, self.toolchain)?;
        self.images = Some(images.clone());
        Ok(images)
    }

    /// Runs one step; its error is a failed case.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        about: &str,
        run: fn(&mut Suite<'a>) -> Result<()>,
    ) {
        println!("== {name}: {about}");
        self.current = name;
        let started = Instant::now();
        let before = self.cases();
        match run(self) {
            Err(error) => self.fail(name, &format!("{error:#}")),
            Ok(()) if self.cases() == before => self.fail(name, "there was nothing to try"),
            Ok(()) => {}
        }
        let took = started.elapsed();
        println!("   {:.1} s", took.as_secs_f64());
        self.times.push((name, took));
    }

    fn cases(&self) -> (u64, u64, usize) {
        (self.passed, self.skipped, self.failures.len())
    }

    /// Records one case by its outcome.
    pub(crate) fn case(&mut self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.pass(name),
            Err(error) => self.fail(name, &format!("{error:#}")),
        }
    }

    /// Records a case that held.
    pub(crate) fn pass(&mut self, name: &str) {
        println!("   ok    {name}");
        self.passed += 1;
    }

    /// Records cases that another program counted.
    pub(crate) fn pass_many(&mut self, count: u64, name: &str) {
        println!("   ok    {name}: {count}");
        self.passed += count;
    }

    /// Records a case that did not hold.
    pub(crate) fn fail(&mut self, name: &str, why: &str) {
        println!("   FAIL  {name}\n{}", indented(why));
        self.failures.push(format!("{}: {name}", self.current));
    }

    /// Records a case that could not be tried here.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        println!("   skip  {name}: {why}");
        self.skipped += 1;
    }

    /// Prints times, failures and the last line.
    pub(crate) fn conclude(&self) -> ExitCode {
        println!("\nTimes:");
        for (name, took) in &self.times {
            println!("  {name:<14} {:>7.1} s", took.as_secs_f64());
        }
        if self.skipped > 0 {
            println!("Skipped: {}", self.skipped);
        }
        if !self.failures.is_empty() {
            println!("Failed:");
            for failure in &self.failures {
                println!("  {failure}");
            }
        }
        println!("{} passed, {} failed", self.passed, self.failures.len());
        if self.failures.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("         {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

//! A machine under test, and the cases that are tried on it.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::build::bare::Images;
use crate::run::client::{Client, Said};
use crate::run::place::Fame;
use crate::run::qemu::{End, Machine, POWERED_OFF};
use crate::run::serial::Echo;
use crate::run::stack::Stack;
use crate::test::suite::{Length, Suite};
use crate::test::trial;
use crate::workspace::Workspace;

/// How long the machine may take to go.
const FAREWELL: Duration = Duration::from_secs(60);

/// Between two looks at a state that no event tells of.
const LOOK: Duration = Duration::from_millis(50);

/// A machine and its client.
pub(crate) struct Bench<'s, 'w> {
    suite: &'s mut Suite<'w>,
    images: Images,
    stack: Stack,
    client: Client,
    log: PathBuf,
    dead: bool,
}

impl<'s, 'w> Bench<'s, 'w> {
    /// Boots a machine, usual but for what `change` does to it.
    pub(crate) fn boot(
        suite: &'s mut Suite<'w>,
        name: &str,
        change: impl FnOnce(Machine) -> Machine,
    ) -> Result<Self> {
        let images = suite.images()?;
        let log = suite.workspace().log(&format!("e2e-{name}"))?;
        let machine = change(Machine::new(images.hypervisor()));
        let stack = Stack::boot(
            suite.workspace(),
            &images,
            machine,
            Fame::Unknown,
            &log,
            Echo::Quiet,
        )?;
        let boot = stack.boot_time();
        println!(
            "         {name}: dom0 answers after {:.1} s",
            boot.as_secs_f64()
        );
        let client = Client::new(stack.control());
        Ok(Self {
            suite,
            images,
            stack,
            client,
            log,
            dead: false,
        })
    }

    /// Tries one case; when the machine dies of it, the rest of the group is not tried.
    pub(crate) fn case(&mut self, name: &str, run: impl FnOnce(&Self) -> Result<()>) {
        if self.dead {
            self.suite.fail(name, "the machine is gone");
            return;
        }
        let outcome = run(self).map_err(|error| self.explained(&format!("{error:#}")));
        self.suite.case(name, outcome);
        self.dead = self.stack.machine().has_ended();
    }

    /// Recounts every frame and powers off in order.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.dead {
            let end = self.stack.machine().wait_forever()?;
            return Err(self.explained(&format!("the machine died: {}", end.describe())));
        }
        self.case("every frame is recounted", |bench| {
            bench.client.json(&["audit"]).map(|_| ())
        });
        let asked = self.client.json(&["poweroff"]);
        let end = self.stack.machine().wait(FAREWELL)?;
        let outcome = if asked.is_ok() && end == End::Code(POWERED_OFF) {
            Ok(())
        } else {
            let answer = asked
                .err()
                .map(|error| format!("{error:#}; "))
                .unwrap_or_default();
            Err(self.explained(&format!("{answer}{}", end.describe())))
        };
        self.suite.case("it powers off in order", outcome);
        Ok(())
    }

    fn explained(&self, what: &str) -> anyhow::Error {
        anyhow::anyhow!(trial::explain(what, &self.log, self.stack.command()))
    }

    /// The client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The socket that it uses.
    pub(crate) fn socket(&self) -> PathBuf {
        self.stack.control()
    }

    /// The images.
    pub(crate) fn images(&self) -> &Images {
        &self.images
    }

    /// Whether this is a long run.
    pub(crate) fn is_long(&self) -> bool {
        self.suite.length() == Length::Long
    }

    /// Where things are.
    pub(crate) fn workspace(&self) -> &'w Workspace {
        self.suite.workspace()
    }

    /// The top of the tree.
    pub(crate) fn root(&self) -> &Path {
        self.suite.workspace().root()
    }

    /// A file that a case may write.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        Ok(self.suite.workspace().output("e2e")?.join(name))
    }

    /// Free memory by the hypervisor's count.
    pub(crate) fn free_memory(&self) -> Result<u64> {
        number(&self.client.json(&["info"])?, "free_memory_bytes")
    }

    /// All domains.
    pub(crate) fn domains(&self) -> Result<Vec<Value>> {
        let list = self.client.json(&["list"])?;
        Ok(list
            .as_array()
            .context("`list --json` is no array")?
            .clone())
    }

    /// One domain.
    pub(crate) fn domain(&self, name: &str) -> Result<Value> {
        let domains = self.domains()?;
        let found = domains.into_iter().find(|domain| domain["name"] == name);
        found.with_context(|| format!("{name} is not listed"))
    }

    /// Waits until a domain is in one of these states.
    pub(crate) fn await_state(&self, name: &str, wanted: &[&str], limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let state = self.domain(name)?["state"].clone();
            if wanted.iter().any(|wanted| state == *wanted) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{name} is {state}, not {}",
                wanted.join(" or ")
            );
            thread::sleep(LOOK);
        }
    }

    /// Waits until a domain that may or may not exist is either no more or well, and destroys it in that case.
    pub(crate) fn settled(&self, name: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Some(domain) = self.domains()?.iter().find(|domain| domain["name"] == name) {
            if domain["state"] != "starting" {
                return self.client.json(&["destroy", name]).map(|_| ());
            }
            ensure!(Instant::now() < deadline, "{name} stays: {domain}");
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until a domain is no more.
    pub(crate) fn await_gone(&self, name: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.domains()?.iter().any(|domain| domain["name"] == name) {
            ensure!(Instant::now() < deadline, "{name} is still there");
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Runs a command that must fail, and returns the error that it prints as JSON.
    pub(crate) fn refused<S: AsRef<str>>(&self, words: &[S]) -> Result<(Said, Value)> {
        let mut words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        words.push("--json");
        let said = self.client.say(&words);
        if said.code == 0 {
            bail!("`{}` succeeded: {}", said.command, said.out.trim());
        }
        let json: Value = serde_json::from_str(&said.err)
            .with_context(|| format!("`{}` prints no JSON but: {}", said.command, said.err))?;
        ensure!(
            json["error"]["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "`{}` does not say what was wrong: {json}",
            said.command
        );
        Ok((said, json))
    }

    /// Holds that `change` leaves domains and free memory as they were.
    pub(crate) fn leaves_nothing<R>(&self, change: impl FnOnce() -> Result<R>) -> Result<R> {
        let free = self.free_memory()?;
        let domains = self.domains()?.len();
        let result = change()?;
        let left = self.domains()?.len();
        ensure!(
            left == domains,
            "there were {domains} domains, and now {left}"
        );
        let now = self.free_memory()?;
        ensure!(now == free, "free memory was {free} bytes, and now {now}");
        Ok(result)
    }
}

/// A number of a JSON object.
pub(crate) fn number(value: &Value, field: &str) -> Result<u64> {
    value[field]
        .as_u64()
        .with_context(|| format!("no number `{field}` in {value}"))
}

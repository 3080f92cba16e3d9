//! A new domain: everything is checked before anything changes.

use super::{
    domain::{Config, Domain, Ends, Key, Life, Target, uuid_from, uuid_text},
    files::Content,
    host::Host,
    manager::Manager,
    query::DOM0_NAME,
    size::Size,
    stream::Work,
    words,
};
use crate::{
    DomId,
    builder::{Build, BuildError, Recipe, RecipeError},
    console::Console,
    resources::{Wish, bytes_of, frames_of},
};
use alloc::{boxed::Box, format, string::String, sync::Arc};
use dom0_protocol::{
    Digest, DomainName, ErrorCode, ErrorReply, Reply, StreamId,
    progress::Unit,
    reply::Created,
    request::{Create, Execution, File, KernelSource, Start},
};
use hypercall_abi::{
    RawDomId,
    control::{ControlArgument, domain::DomainCreate, host::most_overhead},
    ids::DOMID_INVALID,
};

/// What the demo kernel is called.
const DEMO_LABEL: &str = "demo";
/// Bytes of dom0's memory that a domain takes beside eight for each of its frames: scroll-back, nodes, pages on their way.
const BYTES_PER_DOMAIN: u64 = 3 << 20;
/// Bytes of its own memory that dom0 gives to nobody.
pub(super) const OWN_RESERVE: u64 = 4 << 20;
/// The largest weight.
const MAX_WEIGHT: u32 = 65535;

impl<H: Host> Manager<H> {
    pub(super) fn create(&mut self, id: StreamId, wish: Create) -> Result<(), ErrorReply> {
        let started = self.host.now();
        let name = match &wish.name {
            Some(name) => self.free_name(name)?,
            None => self.new_name()?,
        };
        let execution = wish.execution;
        let start = wish.start;
        let config = self.config(wish)?;
        let ledger = self.ledger().map_err(words::host)?;
        let asked = Wish {
            frames: config.frames,
            max_frames: config.max_frames,
            minimum_frames: config.minimum_frames,
            vcpus: config.vcpus,
            max_vcpus: config.max_vcpus,
            affinity: config.affinity,
        };
        ledger
            .admit_domain(&asked)
            .map_err(|refusal| words::refusal(&refusal))?;
        self.check_own_memory(&config)?;
        if execution == Execution::DryRun {
            let reply = self.created(&name, None, &config, started);
            self.done(id, reply);
            return Ok(());
        }
        let uuid = uuid_from([self.host.fresh_number(), self.host.fresh_number()]);
        let (domain, build) = self.begin_build(&config, uuid)?;
        let key = self.fresh_key();
        let born_max_frames = config.max_frames;
        let made = Domain {
            id: domain,
            name,
            uuid,
            life: Life::Building {
                build: Box::new(build),
                start,
            },
            memory: Target::new(config.frames),
            vcpus: Target::new(u64::from(config.vcpus)),
            config,
            console: Console::new(),
            console_ring: None,
            store_ring: None,
            asked: None,
            born: started,
            born_max_frames,
            ends: Ends::default(),
        };
        self.domains.insert(key, made);
        self.work_on(id, Work::Creating { key, started }, 0);
        Ok(())
    }

    /// Makes an empty domain and a build to fill it; on failure nothing is left of it.
    pub(super) fn begin_build(
        &mut self,
        config: &Config,
        uuid: [u8; 16],
    ) -> Result<(DomId, Build), ErrorReply> {
        let wish = DomainCreate {
            header: DomainCreate::HEADER,
            domid: RawDomId(DOMID_INVALID),
            max_vcpus: config.max_vcpus,
            max_frames: config.max_frames,
            uuid,
            weight: config.weight,
            cap_percent: config.cap_percent,
            affinity: config.affinity,
            ..DomainCreate::default()
        };
        let made = self.host.create(&wish).map_err(words::host)?;
        let Some(domain) = DomId::new(made.domid.0) else {
            return Err(ErrorReply::new(
                ErrorCode::Internal,
                "the hypervisor gave a reserved domain number",
            ));
        };
        let recipe = Arc::clone(&config.recipe);
        let limited = self.host.set_limit(domain, config.frames);
        match limited.map_err(BuildError::Host).and_then(|()| {
            let page = made.shared_info_mfn;
            Build::begin(&mut self.host, domain, page, recipe, config.frames)
        }) {
            Ok(build) => Ok((domain, build)),
            Err(error) => {
                self.discard(domain);
                Err(build_failed(error))
            }
        }
    }

    /// Destroys a domain that nobody knows of yet.
    pub(super) fn discard(&mut self, domain: DomId) {
        if let Err(error) = self.host.destroy(domain) {
            log::error!("d{domain}: cannot be destroyed: {error}");
        }
    }

    pub(super) fn created(
        &self,
        name: &DomainName,
        id: Option<DomId>,
        config: &Config,
        started: u64,
    ) -> Reply {
        let record = id.and_then(|id| self.record(id).ok().flatten());
        let frames = record
            .as_ref()
            .map_or(config.frames, |record| record.frames);
        let overhead = record
            .as_ref()
            .map_or(most_overhead(config.max_frames), |record| {
                record.overhead_frames.saturating_add(record.shared_frames)
            });
        Reply::Created(Created {
            name: name.clone(),
            id: id.map(DomId::get),
            memory_bytes: bytes_of(frames),
            overhead_bytes: bytes_of(overhead),
            minimum_memory_bytes: bytes_of(config.minimum_frames),
            elapsed_ns: self.host.now().saturating_sub(started),
        })
    }

    /// All that the request says, looked up and checked as far as the machine's state does not matter.
    fn config(&self, wish: Create) -> Result<Config, ErrorReply> {
        check_weight(wish.weight)?;
        if wish.memory_bytes > wish.max_memory_bytes || wish.vcpus > wish.max_vcpus {
            return Err(ErrorReply::new(
                ErrorCode::InvalidArgument,
                "a domain cannot begin with more memory or vCPUs than its maximum",
            )
            .hint("raise --max-memory or --max-vcpus, or leave them out"));
        }
        let (kernel, kernel_digest, kernel_label) = self.kernel(wish.kernel)?;
        let ramdisk = wish
            .ramdisk
            .as_ref()
            .map(|file| self.file(file))
            .transpose()?;
        let recipe =
            Recipe::new(kernel, ramdisk, &wish.cmdline).map_err(|error| bad_recipe(&error))?;
        Ok(Config {
            minimum_frames: recipe.minimum_frames(),
            recipe: Arc::new(recipe),
            kernel_label,
            kernel_digest,
            ramdisk_label: wish.ramdisk.map(|file| file.label),
            // A part of a frame cannot be given: what is asked for is a bound.
            frames: wish.memory_bytes / crate::resources::FRAME_BYTES,
            max_frames: frames_of(wish.max_memory_bytes),
            vcpus: wish.vcpus,
            max_vcpus: wish.max_vcpus,
            weight: wish.weight,
            cap_percent: wish.cap_percent,
            affinity: wish.affinity,
            on_end: wish.on_end,
        })
    }

    /// Refuses what dom0 itself has no memory for.
    fn check_own_memory(&self, config: &Config) -> Result<(), ErrorReply> {
        let needed = OWN_RESERVE + BYTES_PER_DOMAIN + config.frames.saturating_mul(8);
        let spare = self.host.spare_bytes();
        if needed <= spare {
            return Ok(());
        }
        let text = format!(
            "dom0 needs {} of its own memory for another domain and has {}",
            Size(needed),
            Size(spare)
        );
        Err(ErrorReply::new(ErrorCode::TooManyDomains, text)
            .hint("start the machine with a larger dom0_mem=, or destroy domains first")
            .amounts(Unit::Bytes, needed, spare))
    }

    fn kernel(&self, source: KernelSource) -> Result<(Content, Digest, String), ErrorReply> {
        match source {
            KernelSource::Demo => {
                let (content, digest) = &self.demo;
                Ok((Arc::clone(content), *digest, String::from(DEMO_LABEL)))
            }
            KernelSource::Uploaded(file) => Ok((self.file(&file)?, file.sha256, file.label)),
        }
    }

    fn file(&self, file: &File) -> Result<Content, ErrorReply> {
        self.files.get(&file.sha256).ok_or_else(|| {
            let text = format!(
                "dom0 has no file `{}` with digest {}",
                file.label, file.sha256
            );
            ErrorReply::new(ErrorCode::NoSuchUpload, text)
                .hint("upload it first, over the same connection")
        })
    }

    pub(super) fn free_name(&self, name: &DomainName) -> Result<DomainName, ErrorReply> {
        if self.is_taken(name) {
            let text = format!("there is a domain `{name}` already");
            return Err(ErrorReply::new(ErrorCode::NameTaken, text).hint(format!(
                "choose another name, or `dom0ctl destroy {name}` first"
            )));
        }
        Ok(name.clone())
    }

    fn new_name(&self) -> Result<DomainName, ErrorReply> {
        let candidates =
            (1_u32..).map_while(|number| DomainName::new(&format!("domain-{number}")).ok());
        let mut free = candidates.filter(|name| !self.is_taken(name));
        free.next().ok_or_else(|| {
            ErrorReply::new(ErrorCode::NameTaken, "no name is free").hint("give one by --name")
        })
    }

    fn is_taken(&self, name: &DomainName) -> bool {
        name.as_str() == DOM0_NAME || self.domains.of_name(name).is_some()
    }

    /// A domain's build has failed: nothing of it stays.
    pub(super) fn build_has_failed(&mut self, key: Key, error: BuildError) {
        let Some(domain) = self.domains.get(&key) else {
            return;
        };
        log::warn!(
            "d{} ({}): build failed: {error}",
            domain.id,
            uuid_text(&domain.uuid)
        );
        let reply = build_failed(error);
        self.end_of(key, &reply);
    }
}

/// Refuses a weight that the scheduler does not know.
pub(super) fn check_weight(weight: u32) -> Result<(), ErrorReply> {
    if (1..=MAX_WEIGHT).contains(&weight) {
        return Ok(());
    }
    let text = format!("weight {weight} is not between 1 and {MAX_WEIGHT}");
    Err(ErrorReply::new(ErrorCode::InvalidArgument, text).hint("256 is usual"))
}

/// Whether a domain begins at once.
pub(super) const fn begins(start: Start) -> bool {
    matches!(start, Start::Running)
}

fn bad_recipe(error: &RecipeError) -> ErrorReply {
    let (code, hint) = match error {
        RecipeError::Image(_) => (
            ErrorCode::BadImage,
            "a kernel for PV guests, as an unpacked 64-bit ELF file, is needed",
        ),
        RecipeError::Layout(_) => (
            ErrorCode::BadImage,
            "use a smaller ramdisk or another kernel",
        ),
        RecipeError::CommandLine(_) => (ErrorCode::InvalidArgument, "shorten it"),
    };
    ErrorReply::new(code, format!("{error}")).hint(hint)
}

fn build_failed(error: BuildError) -> ErrorReply {
    match error {
        BuildError::Host(error) => words::host(error),
        BuildError::Layout(error) => bad_recipe(&RecipeError::Layout(error)),
        BuildError::Frames { .. } => {
            ErrorReply::new(ErrorCode::InsufficientMemory, format!("{error}"))
                .hint("other domains took memory meanwhile: try again, or ask for less")
        }
    }
}

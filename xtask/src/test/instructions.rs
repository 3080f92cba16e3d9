//! The images' instructions: no privileged one in what runs at ring 3, no vector or x87 register in any bare image.
//!
//! The scan decodes every executable section from start to end, so it needs no symbols and misses nothing that a
//! compiler or an assembler placed there as code.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use elf::ElfBytes;
use elf::abi::SHF_EXECINSTR;
use elf::endian::LittleEndian;
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Register};

use crate::test::suite::Suite;

/// Test kernels that try privileged instructions on purpose, each with what it tries.
const PRIVILEGED: &[(&str, &str)] = &[
    ("bench", "RDMSR and a CR read, whose emulation it measures"),
    ("debug", "CR4 and the ports that breakpoints are set on"),
    (
        "emulation",
        "control registers, MSRs, ports and what must fault",
    ),
    ("traps", "HLT, which must fault"),
];

/// Test kernels that use vector or x87 registers on purpose, each with the reason.
const VECTORS: &[(&str, &str)] = &[];

/// How many findings are shown per image.
const SHOWN: usize = 8;

/// Builds the images: the later steps need them, and a broken build is told once.
pub(crate) fn build(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    suite.pass(&format!(
        "hypervisor, dom0, {} guest kernels",
        images.kernels().len()
    ));
    Ok(())
}

pub(crate) fn scan(suite: &mut Suite<'_>) -> Result<()> {
    let images = suite.images()?;
    suite.case("paravane", check(&images.hypervisor(), &[vector_register]));
    suite.case(
        "dom0",
        check(&images.dom0(), &[vector_register, privileged]),
    );
    for kernel in images.kernels() {
        let mut rules: Vec<Rule> = Vec::new();
        if !is_listed(VECTORS, kernel) {
            rules.push(vector_register);
        }
        if !is_listed(PRIVILEGED, kernel) {
            rules.push(privileged);
        }
        suite.case(kernel, check(&images.kernel(kernel), &rules));
    }
    for (kernel, _) in PRIVILEGED.iter().chain(VECTORS) {
        if !images.kernels().iter().any(|name| name == kernel) {
            suite.fail(kernel, "it is excused from the scan but does not exist");
        }
    }
    Ok(())
}

fn is_listed(list: &[(&str, &str)], kernel: &str) -> bool {
    list.iter().any(|(name, _)| *name == kernel)
}

/// Says what is wrong with an instruction.
type Rule = fn(&Instruction) -> Option<&'static str>;

fn privileged(instruction: &Instruction) -> Option<&'static str> {
    instruction.is_privileged().then_some("privileged")
}

fn vector_register(instruction: &Instruction) -> Option<&'static str> {
    let is_vector =
        |register: Register| register.is_vector_register() || register.is_mm() || register.is_st();
    (0..instruction.op_count())
        .any(|operand| is_vector(instruction.op_register(operand)))
        .then_some("vector or x87 register")
}

fn check(image: &Path, rules: &[Rule]) -> Result<()> {
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let mut found = Vec::new();
    for (address, code) in executable_sections(&bytes)
        .with_context(|| format!("cannot read {} as ELF", image.display()))?
    {
        findings(address, code, rules, &mut found);
    }
    if !found.is_empty() {
        let shown: Vec<_> = found.iter().take(SHOWN).map(String::as_str).collect();
        bail!(
            "{}: {} findings\n{}",
            image.display(),
            found.len(),
            shown.join("\n")
        );
    }
    Ok(())
}

/// `ud2` and the bytes behind it ask the hypervisor to emulate the instruction that follows them.
const EMULATE: &[u8] = b"\x0f\x0bxen";

fn findings(address: u64, code: &[u8], rules: &[Rule], found: &mut Vec<String>) {
    let mut formatter = IntelFormatter::new();
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    while decoder.can_decode() {
        let position = decoder.position();
        if code
            .get(position..)
            .is_some_and(|rest| rest.starts_with(EMULATE))
        {
            let behind = position + EMULATE.len();
            let skipped = EMULATE
                .iter()
                .fold(decoder.ip(), |ip, _| ip.wrapping_add(1));
            if decoder.set_position(behind).is_err() {
                return;
            }
            decoder.set_ip(skipped);
            continue;
        }
        let instruction = decoder.decode();
        if let Some(why) = rules.iter().find_map(|rule| rule(&instruction)) {
            let mut text = String::new();
            formatter.format(&instruction, &mut text);
            found.push(format!("{:#018x}  {text}  ({why})", instruction.ip()));
        }
    }
}

fn executable_sections(bytes: &[u8]) -> Result<Vec<(u64, &[u8])>> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(bytes)?;
    let headers = file.section_headers().context("no section headers")?;
    let mut sections = Vec::new();
    for header in headers
        .iter()
        .filter(|header| header.sh_flags & u64::from(SHF_EXECINSTR) != 0)
    {
        let (code, _) = file.section_data(&header)?;
        sections.push((header.sh_addr, code));
    }
    if sections.is_empty() {
        bail!("no executable section");
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(code: &[u8], rule: Rule) -> Vec<String> {
        let mut found = Vec::new();
        findings(0x1000, code, &[rule], &mut found);
        found
    }

    #[test]
    fn privileged_instructions_are_found() {
        for code in [
            &[0xf4][..],         // hlt
            &[0xfa],             // cli
            &[0x0f, 0x22, 0xd8], // mov cr3, rax
            &[0x0f, 0x30],       // wrmsr
            &[0xee],             // out dx, al
            &[0x0f, 0x01, 0xf8], // swapgs
        ] {
            assert_eq!(complaints(code, privileged).len(), 1, "{code:02x?}");
        }
        // syscall; iretq; cpuid; ud2
        let fine = [0x0f, 0x05, 0x48, 0xcf, 0x0f, 0xa2, 0x0f, 0x0b];
        assert!(complaints(&fine, privileged).is_empty());
    }

    #[test]
    fn the_prefix_of_emulated_instructions_is_none_itself() {
        let code = [EMULATE, &[0x0f, 0xa2, 0xf4]].concat(); // cpuid; hlt
        let found = complaints(&code, privileged);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("0x0000000000001007"), "{found:?}");
    }

    #[test]
    fn vector_registers_are_found_and_state_saving_is_not() {
        assert_eq!(complaints(&[0x0f, 0x57, 0xc0], vector_register).len(), 1); // xorps
        assert_eq!(complaints(&[0xd8, 0xc1], vector_register).len(), 1); // fadd
        assert!(complaints(&[0x0f, 0xae, 0x00], vector_register).is_empty()); // fxsave
    }
}

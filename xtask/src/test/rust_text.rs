//! Rust source as text: what is code in it, without comments, strings and test modules.
//!
//! A lexer of a few states, not a parser: enough to count keywords and lines.

/// The same text with every comment, string and character literal blanked; lines stay where they were.
pub(crate) fn code_of(source: &str) -> String {
    let characters: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < characters.len() {
        let length = blank_length(&characters, at);
        if length == 0 {
            code.extend(characters.get(at));
            at += 1;
            continue;
        }
        let end = (at + length).min(characters.len());
        let blanked = characters.get(at..end).unwrap_or_default();
        code.extend(blanked.iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// How many characters from `at` on belong to a comment or literal; 0 when code starts there.
fn blank_length(text: &[char], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let joined = at
        .checked_sub(1)
        .and_then(|before| text.get(before))
        .is_some_and(|&c| c.is_alphanumeric() || c == '_');
    match rest {
        ['/', '/', ..] => rest.iter().take_while(|&&c| c != '\n').count(),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => quoted(rest, 1),
        ['b' | 'c', '"', ..] if !joined => quoted(rest, 2),
        ['r', '"' | '#', ..] if !joined => raw(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !joined => raw(rest, 2),
        ['\'', '\\', ..] => character(rest, 1),
        ['\'', _, '\'', ..] => 3,
        ['b', '\'', ..] if !joined => character(rest, 2),
        _ => 0,
    }
}

fn block_comment(text: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(pair) = text.get(at..at + 2) {
        match pair {
            ['/', '*'] => depth += 1,
            ['*', '/'] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn quoted(text: &[char], opening: usize) -> usize {
    let mut at = opening;
    while let Some(&c) = text.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// A raw string whose `r` ends at `prefix`; 0 when it is a raw identifier.
fn raw(text: &[char], prefix: usize) -> usize {
    let after = text.get(prefix..).unwrap_or_default();
    let hashes = after.iter().take_while(|&&c| c == '#').count();
    if after.get(hashes) != Some(&'"') {
        return 0;
    }
    let mut at = prefix + hashes + 1;
    while let Some(&c) = text.get(at) {
        let closing = text.get(at + 1..at + 1 + hashes).unwrap_or_default();
        if c == '"' && closing.len() == hashes && closing.iter().all(|&c| c == '#') {
            return at + 1 + hashes;
        }
        at += 1;
    }
    text.len()
}

fn character(text: &[char], opening: usize) -> usize {
    let mut at = opening;
    while let Some(&c) = text.get(at) {
        match c {
            '\\' => at += 2,
            '\'' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Blanks every item under `#[cfg(test)]`; takes the output of [`code_of`].
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, after)) = rest.split_once(MARK) {
        kept.push_str(before);
        let length = item_length(after);
        let (item, behind) = after.split_at(length);
        kept.extend(item.chars().filter(|&c| c == '\n'));
        rest = behind;
    }
    kept.push_str(rest);
    kept
}

/// The bytes up to the end of the item that `text` begins with: its closing brace, or a semicolon before any brace.
fn item_length(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Lines that hold any code.
pub(crate) fn lines_of_code(code: &str) -> usize {
    code.lines().filter(|line| !line.trim().is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let source = "let a = \"unsafe {\"; // unsafe\n/* unsafe /* nested */ */ b('\"'); r#\"unsafe\"#; '\\'' x";
        let code = code_of(source);
        assert!(!code.contains("unsafe"), "{code}");
        assert!(code.contains("b(") && code.ends_with('x'), "{code}");
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        let code = code_of("fn f<'a>(x: &'a str) { r#match(b'x', 'y') } unsafe { g() }");
        assert!(code.contains("'a") && code.contains("r#match") && code.contains("unsafe {"));
    }

    #[test]
    fn test_modules_are_left_out() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { {} }\n}\nfn c() {}\n#[cfg(test)] mod t;\nfn d() {}";
        let kept = without_tests(code);
        assert!(kept.contains("fn a") && kept.contains("fn c") && kept.contains("fn d"));
        assert!(!kept.contains("fn b") && !kept.contains("mod"));
        assert_eq!(lines_of_code(&kept), 3);
    }
}

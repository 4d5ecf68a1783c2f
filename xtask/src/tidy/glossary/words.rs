//! Reading a line: its words, and the names that it declares.

/// A word of a line: letters without a change to a capital between them. `was_told` and `wasTold` are two words.
#[derive(Debug, PartialEq)]
pub(super) struct Word {
    start: usize,
    end: usize,
    /// In small letters.
    pub(super) text: String,
}

/// Whether a term begins at the first of these words: its words follow each other with nothing but spaces and `_`
/// between them.
pub(super) fn is_term(line: &str, words: &[Word], term: &[String]) -> bool {
    let Some(these) = words.get(..term.len()) else { return false };
    let follow = |pair: &[Word]| {
        let between = &line[pair[0].end..pair[1].start];
        between.chars().all(|c| c == ' ' || c == '_')
    };
    these.iter().zip(term).all(|(word, part)| word.text == *part) && these.windows(2).all(follow)
}

/// The words of a line, in order.
pub(super) fn words(line: &str) -> Vec<Word> {
    let letters: Vec<(usize, char)> = line.char_indices().collect();
    let mut words: Vec<Word> = vec![];
    let mut previous: Option<char> = None;
    for (n, &(at, c)) in letters.iter().enumerate() {
        if c.is_alphabetic() {
            let next = letters.get(n + 1).map(|&(_, next)| next);
            let end = at + c.len_utf8();
            match words.last_mut() {
                Some(word) if previous.is_some_and(|previous| !begins_word(previous, c, next)) => {
                    word.end = end;
                    word.text.extend(c.to_lowercase());
                }
                _ => words.push(Word { start: at, end, text: c.to_lowercase().collect() }),
            }
        }
        previous = c.is_alphabetic().then_some(c);
    }
    words
}

/// Whether a letter after another one begins a word: `R` in `toldReply`, and `R` in `IOReply`.
fn begins_word(previous: char, letter: char, next: Option<char>) -> bool {
    letter.is_uppercase() && (!previous.is_uppercase() || next.is_some_and(char::is_lowercase))
}

/// A name that a line of Rust declares.
#[derive(Debug, PartialEq)]
pub(super) struct Declared<'a> {
    pub(super) name: &'a str,
    pub(super) is_type: bool,
}

/// The types, functions and modules that a line declares. An indented `type` belongs to a trait, which names it.
pub(super) fn declared(line: &str) -> Vec<Declared<'_>> {
    let code = line.split_once("//").map_or(line, |(code, _)| code);
    let mut tokens = code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|token| !token.is_empty());
    let mut found = vec![];
    while let Some(token) = tokens.next() {
        let is_type = match token {
            "struct" | "enum" | "trait" | "union" => true,
            "type" => !line.starts_with(' '),
            "fn" | "mod" => false,
            _ => continue,
        };
        if (token != "type" || is_type)
            && let Some(name) = tokens.next()
        {
            found.push(Declared { name, is_type });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_capitals_and_other_signs() {
        let texts = |line| words(line).into_iter().map(|word| word.text).collect::<Vec<_>>();
        assert_eq!(
            texts("the ToldReply, IOError_x2y §Größe"),
            ["the", "told", "reply", "io", "error", "x", "y", "größe"]
        );
        assert_eq!(texts("TOLD"), ["told"]);
    }

    #[test]
    fn a_comment_declares_nothing() {
        assert_eq!(declared("fn a() {} // fn b"), [Declared { name: "a", is_type: false }]);
    }
}

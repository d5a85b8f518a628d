//! How many tokens a text is for a typical sub-word model, without one at hand.

/// Estimates tokens: five letters of a Latin word are one, a Chinese letter is one, a sign is one.
///
/// English prose comes out at about 1.3 a word, as with BERT's vocabulary.
pub fn estimate_tokens(text: &str) -> usize {
    let mut tokens = 0;
    let mut word = Word::default();
    for letter in text.chars() {
        match class_of(letter) {
            Class::Letter { thirds_of_five } => word.thirds_of_five += thirds_of_five,
            Class::Alone => tokens += word.take() + 1,
            Class::Space => tokens += word.take(),
        }
    }
    tokens + word.take()
}

/// A run of letters; each counts so many fifteenths of a token.
#[derive(Default)]
struct Word {
    thirds_of_five: usize,
}

impl Word {
    fn take(&mut self) -> usize {
        std::mem::take(&mut self.thirds_of_five).div_ceil(15)
    }
}

enum Class {
    Letter { thirds_of_five: usize },
    Alone,
    Space,
}

fn class_of(letter: char) -> Class {
    match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Class::Letter { thirds_of_five: 3 },
        _ if letter.is_whitespace() || letter.is_control() => Class::Space,
        '\u{2e80}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}' => Class::Alone,
        // Vocabularies know other scripts less well: about three letters a token.
        _ if letter.is_alphanumeric() || !letter.is_ascii() => Class::Letter { thirds_of_five: 5 },
        _ => Class::Alone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_words_signs_and_chinese_letters() {
        // boil 1 + water 1 + for 1 + one 1 + minute 2 (six letters) + full stop 1.
        assert_eq!(estimate_tokens("Boil water for one minute."), 7);
        assert_eq!(estimate_tokens("煮沸水"), 3);
        assert_eq!(estimate_tokens(""), 0);
    }
}

//! What a question is about: its words without those that every question has.

/// Words that carry no subject: articles, pronouns, prepositions, helping verbs and question words of the languages
/// that the catalog's models are mostly used in, by ISO 639-1 code.
const EMPTY_WORDS: &[(&str, &[&str])] = &[
    ("en", ENGLISH),
    (
        "fr",
        &[
            "le la les un une des du de d l et ou à au aux en dans sur sous par pour avec sans est sont était être a ont",
            "avoir fait faire je tu il elle on nous vous ils elles me te se mon ma mes ton ta tes son sa ses notre votre",
            "leur ce cet cette ces que qu qui quoi quel quelle quels quelles quand où comment pourquoi combien y ne pas",
            "plus",
        ],
    ),
    (
        "es",
        &[
            "el la los las lo un una unos unas y e o de del al a en con sin sobre entre por para como es son era ser",
            "estar está están hay ha han haber se yo tú él ella nosotros ellos ellas me te le les nos su sus mi mis tu",
            "tus que qué quién quiénes cuál cuáles cuándo dónde cómo cuánto cuánta cuántos cuántas no más",
        ],
    ),
    (
        "pt",
        &[
            "o a os as um uma uns umas e ou de do da dos das em no na nos nas ao aos à às por para como com sem é são",
            "foi era ser estar está há se eu ele ela nós eles elas me te lhe seu sua seus suas meu minha que quem qual",
            "quais quando onde quanto quanta quantos quantas porque não mais",
        ],
    ),
    (
        "de",
        &[
            "der die das den dem des ein eine einen einem einer eines und oder in im an am auf aus bei mit nach von vom",
            "zu zum zur für über unter ist sind war waren sein hat haben hatte wird werden wurde kann können muss müssen",
            "soll sollen ich du er sie es wir ihr man mich mir sich was wer wen wem wann wo wie warum welche welcher",
            "welches viel viele",
        ],
    ),
    (
        "sw",
        &[
            "na ya wa za la cha vya kwa ni si katika kwenye nini nani lini wapi vipi gani kwanini ngapi je hii hiyo huu",
            "huo",
        ],
    ),
];

/// English questions are put to documents of every language.
const ENGLISH: &[&str] = &[
    "a an the of in on at to for from by with about as into is are was were be been being am do does did done have",
    "has had can could may might must shall should will would i you he she it we they me him her us them my your his",
    "its our their this that these those there here what which who whom whose when where why how many much long and or",
    "but if not no than then so also any some all each",
];

/// A text without the empty words of English and of `languages`, because a word that is empty in one language is the
/// subject in another: English `war` and `man` are German helpers. Where nothing is left, the words that are not
/// empty in English; where there are none either, the text itself.
pub fn subject_of(text: &str, languages: &[&str]) -> String {
    let words: Vec<&str> = text.split(is_between_words).filter(|word| !word.is_empty()).collect();
    let without_english: Vec<&str> = words.into_iter().filter(|word| !is_in(ENGLISH, word)).collect();
    let telling: Vec<&str> =
        without_english.iter().copied().filter(|word| !is_empty_word(word, languages)).collect();
    match (telling.is_empty(), without_english.is_empty()) {
        (false, _) => telling.join(" "),
        (true, false) => without_english.join(" "),
        (true, true) => text.to_owned(),
    }
}

/// By name, because signs within the words of many scripts are neither letters nor digits.
fn is_between_words(letter: char) -> bool {
    letter.is_whitespace() || letter.is_ascii_punctuation() || "’‘“”«»„…–—¿¡？！。、，،؟।".contains(letter)
}

fn is_empty_word(word: &str, languages: &[&str]) -> bool {
    EMPTY_WORDS.iter().any(|(language, lines)| languages.contains(language) && is_in(lines, word))
}

fn is_in(lines: &[&str], word: &str) -> bool {
    let word = word.to_lowercase();
    lines.iter().any(|line| line.split(' ').any(|empty| empty == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_question_has_is_left_out() {
        assert_eq!(subject_of("How long must I boil drinking water?", &["en"]), "boil drinking water");
        assert_eq!(
            subject_of("Combien de temps faut-il bouillir l'eau ?", &["fr"]),
            "temps faut bouillir eau"
        );
        assert_eq!(subject_of("Who is it?", &["en"]), "Who is it?");
        assert_eq!(subject_of("水を沸かす時間", &["ja"]), "水を沸かす時間");
    }

    #[test]
    fn only_the_documents_languages_and_english_have_empty_words() {
        assert_eq!(subject_of("When did the war end?", &["en"]), "war end");
        assert_eq!(subject_of("How do I pour concrete plus sand?", &["en"]), "pour concrete plus sand");
        assert_eq!(subject_of("Wann war das Ende?", &["de"]), "Ende");
        // Nothing is left in English and German, but English has a subject.
        assert_eq!(subject_of("What is war?", &["de"]), "war");
    }

    #[test]
    fn signs_within_a_word_do_not_cut_it() {
        assert_eq!(subject_of("स्वच्छ पानी?", &["hi"]), "स्वच्छ पानी");
    }
}

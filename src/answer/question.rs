//! What a question is about: its words without those that every question has.

/// Words that carry no subject: articles, pronouns, prepositions, helping verbs and question words of the languages
/// that the catalog's models are mostly used in.
const EMPTY_WORDS: &[&str] = &[
    // English
    "a an the of in on at to for from by with about as into is are was were be been being am do does did done have",
    "has had can could may might must shall should will would i you he she it we they me him her us them my your his",
    "its our their this that these those there here what which who whom whose when where why how many much long and or",
    "but if not no than then so also any some all each",
    // French
    "le la les un une des du de d l et ou à au aux en dans sur sous par pour avec sans est sont était être a ont avoir",
    "fait faire je tu il elle on nous vous ils elles me te se mon ma mes ton ta tes son sa ses notre votre leur ce cet",
    "cette ces que qu qui quoi quel quelle quels quelles quand où comment pourquoi combien y ne pas plus",
    // Spanish and Portuguese
    "el los las lo unos unas y o del al con sin sobre entre es son era ser estar está están hay ha han haber se yo él",
    "ella ellos nos su sus mi mis tu tus qué quién quiénes cuál cuáles cuándo dónde cómo cuánto cuánta cuántos cuántas",
    "por para como no más os as um uma uns umas e do da dos das no na nos nas ao aos com sem é são foi ser estar há eu",
    "ele ela eles elas seu sua seus suas meu minha que quem qual quais quando onde quanto quantos porque",
    // German
    "der die das den dem des ein eine einen einem einer eines und oder in im an am auf aus bei mit nach von vom zu zum",
    "zur für über unter ist sind war waren sein hat haben hatte wird werden wurde kann können muss müssen soll sollen",
    "ich du er sie es wir ihr man mich mir sich was wer wen wem wann wo wie warum welche welcher welches viel viele",
    // Swahili
    "na ya wa za la cha vya kwa ni si katika kwenye nini nani lini wapi vipi gani kwanini ngapi je hii hiyo huu huo",
];

/// The question without empty words; the question itself when it has no others.
pub fn subject_of(question: &str) -> String {
    let words = question.split(is_between_words);
    let telling: Vec<&str> = words.filter(|word| !word.is_empty() && !is_empty_word(word)).collect();
    if telling.is_empty() { question.to_owned() } else { telling.join(" ") }
}

/// By name, because signs within the words of many scripts are neither letters nor digits.
fn is_between_words(letter: char) -> bool {
    letter.is_whitespace() || letter.is_ascii_punctuation() || "’‘“”«»„…–—¿¡？！。、，،؟।".contains(letter)
}

fn is_empty_word(word: &str) -> bool {
    let word = word.to_lowercase();
    EMPTY_WORDS.iter().any(|line| line.split(' ').any(|empty| empty == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_question_has_is_left_out() {
        assert_eq!(subject_of("How long must I boil drinking water?"), "boil drinking water");
        assert_eq!(subject_of("Combien de temps faut-il bouillir l'eau ?"), "temps faut bouillir eau");
        assert_eq!(subject_of("Who is it?"), "Who is it?");
        assert_eq!(subject_of("水を沸かす時間"), "水を沸かす時間");
    }

    #[test]
    fn signs_within_a_word_do_not_cut_it() {
        assert_eq!(subject_of("स्वच्छ पानी?"), "स्वच्छ पानी");
    }
}

//! Which language a text is in, as an ISO 639-1 code.

use whatlang::{Lang, detect};

/// How much of a text is looked at, in bytes.
const SAMPLE_BYTES: usize = 4096;

/// The language of a text; `None` when it is too short or too mixed to tell.
pub fn language_of(text: &str) -> Option<&'static str> {
    let guess = detect(sample(text))?;
    if !guess.is_reliable() {
        return None;
    }
    code(guess.lang())
}

/// A part from the middle: beginnings are often titles, names and tables of contents.
fn sample(text: &str) -> &str {
    if text.len() <= SAMPLE_BYTES {
        return text;
    }
    let start = text.ceil_char_boundary((text.len() - SAMPLE_BYTES) / 2);
    let end = text.floor_char_boundary(start + SAMPLE_BYTES);
    &text[start..end]
}

/// ISO 639-1 for what whatlang knows by ISO 639-3.
fn code(language: Lang) -> Option<&'static str> {
    const CODES: &str = "epo eo eng en rus ru cmn zh spa es por pt ita it ben bn fra fr deu de ukr uk kat ka \
        ara ar hin hi jpn ja heb he yid yi pol pl amh am jav jv kor ko nob nb dan da swe sv fin fi tur tr \
        nld nl hun hu ces cs ell el bul bg bel be mar mr kan kn ron ro slv sl hrv hr srp sr mkd mk lit lt \
        lav lv est et tam ta vie vi urd ur tha th guj gu uzb uz pan pa aze az ind id tel te pes fa mal ml \
        ori or mya my nep ne sin si khm km tuk tk aka ak zul zu sna sn afr af lat la slk sk cat ca tgl tl \
        hye hy cym cy";
    let mut words = CODES.split_whitespace();
    while let (Some(long), Some(short)) = (words.next(), words.next()) {
        if long == language.code() {
            return Some(short);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_common_languages_apart() {
        let english = "The clinic keeps its vaccines in a refrigerator that runs on solar power all day.";
        let french = "La clinique garde ses vaccins dans un réfrigérateur qui marche à l'énergie solaire.";
        assert_eq!(language_of(english), Some("en"));
        assert_eq!(language_of(french), Some("fr"));
        assert_eq!(language_of("诺曼人是中世纪居住在法国北部的人民"), Some("zh"));
        assert_eq!(language_of("x1"), None);
    }

    #[test]
    fn every_language_that_can_be_told_has_a_code() {
        assert!(Lang::all().iter().all(|&language| code(language).is_some()));
    }
}

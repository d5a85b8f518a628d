//! Messages to one text, by the Jinja template that the model's publisher put into the GGUF.
//!
//! A template is a stranger's program: it runs here in the child, with its steps counted. It is rendered as
//! Hugging Face's `apply_chat_template` does: `trim_blocks`, `lstrip_blocks`, Python's string methods,
//! `raise_exception`, `strftime_now`, and a `tojson` that does not escape for HTML.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, Error, ErrorKind, Value, context};

use crate::engine::message::{Failure, Message};

use super::model::Loaded;

/// How many steps a template may take; the longest known ones take some thousands a message.
const FUEL: u64 = 20_000_000;

/// Renders the messages and opens the assistant's turn.
pub(super) fn render(loaded: &Loaded, messages: &[Message], thinks: bool) -> Result<String, Failure> {
    let Some(template) = loaded.chat_template() else {
        return Err(Failure::WrongUse {
            reason: "this model has no chat template; it continues text".into(),
        });
    };
    let defused: Vec<Message> = messages
        .iter()
        .map(|message| Message {
            role: message.role.clone(),
            content: defuse(&message.content, loaded.control_texts()),
        })
        .collect();
    let words = Words { begin: loaded.begin_text(), end: loaded.end_text(), thinks };
    render_or_merge(template, &defused, &words)
        .map_err(|error| Failure::Template { reason: describe(&error) })
}

/// What a template knows besides the messages.
struct Words {
    begin: String,
    end: String,
    thinks: bool,
}

/// Some templates refuse a system message; then it goes before the first user message.
fn render_or_merge(template: &str, messages: &[Message], words: &Words) -> Result<String, Error> {
    let first = render_once(template, messages, words);
    match (first, messages) {
        (Err(_), [system, user, rest @ ..]) if system.role == "system" && user.role == "user" => {
            let content = format!("{}\n\n{}", system.content, user.content);
            let mut merged = vec![Message { role: "user".into(), content }];
            merged.extend_from_slice(rest);
            render_once(template, &merged, words)
        }
        (outcome, _) => outcome,
    }
}

fn render_once(template: &str, messages: &[Message], words: &Words) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |reason: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, reason))
    });
    environment.add_function("strftime_now", |format: String| strftime(&format, seconds_now()));
    environment.add_filter("tojson", to_json);
    environment.template_from_str(template)?.render(context! {
        messages => Serde(messages),
        add_generation_prompt => true,
        bos_token => words.begin.as_str(),
        eos_token => words.end.as_str(),
        enable_thinking => words.thinks,
    })
}

/// Breaks up what would steer the model: a document that says `<|im_end|>` must not end the user's turn.
fn defuse(content: &str, control_texts: &[String]) -> String {
    let mut text = content.to_owned();
    for control in control_texts {
        if text.contains(control.as_str()) {
            let split = control.chars().next().map_or(0, char::len_utf8);
            text = text.replace(control.as_str(), &format!("{} {}", &control[..split], &control[split..]));
        }
    }
    text
}

fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Other options of Python's json.dumps change only the looks.
    let failed = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    match indent {
        None => serde_json::to_string(value).map_err(failed),
        Some(_) => serde_json::to_string_pretty(value).map_err(failed),
    }
}

fn describe(error: &Error) -> String {
    match (error.detail(), error.line()) {
        (Some(detail), Some(line)) => format!("{detail} (line {line})"),
        (Some(detail), None) => detail.to_owned(),
        _ => error.to_string(),
    }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Python's `strftime` in UTC, for the letters that templates use.
fn strftime(format: &str, seconds: u64) -> String {
    let (year, month, day) = civil_date(seconds / 86_400);
    let weekday = DAYS[((seconds / 86_400 + 4) % 7) as usize];
    let month_name = MONTHS[month as usize - 1];
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let part = match letters.next() {
            Some('Y') => year.to_string(),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('B') => month_name.to_owned(),
            Some('b') => month_name[..3].to_owned(),
            Some('A') => weekday.to_owned(),
            Some('a') => weekday[..3].to_owned(),
            Some('H') => format!("{:02}", seconds / 3600 % 24),
            Some('M') => format!("{:02}", seconds / 60 % 60),
            Some('S') => format!("{:02}", seconds % 60),
            Some('%') => "%".to_owned(),
            Some(other) => format!("%{other}"),
            None => "%".to_owned(),
        };
        text.push_str(&part);
    }
    text
}

/// Days since 1970-01-01 to year, month and day. Source: Howard Hinnant, `civil_from_days`.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n\
        {{ message.content.strip() }}<|im_end|>\n{% endfor %}\
        {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

    fn messages(turns: &[(&str, &str)]) -> Vec<Message> {
        turns
            .iter()
            .map(|(role, content)| Message { role: (*role).into(), content: (*content).into() })
            .collect()
    }

    fn words() -> Words {
        Words { begin: "<s>".into(), end: "</s>".into(), thinks: false }
    }

    #[test]
    fn renders_chatml_with_pythons_string_methods() {
        let text =
            render_or_merge(CHATML, &messages(&[("user", " hi ")]), &words()).expect("a plain template");
        assert_eq!(text, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    }

    #[test]
    fn a_template_that_refuses_system_messages_gets_them_with_the_question() {
        let template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}\
                        {{ bos_token }}{% for message in messages %}[{{ message.content }}]{% endfor %}";
        let turns = messages(&[("system", "be brief"), ("user", "hi")]);
        assert_eq!(render_or_merge(template, &turns, &words()).expect("merged"), "<s>[be brief\n\nhi]");
    }

    #[test]
    fn a_template_that_never_ends_is_stopped() {
        let template = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
        assert!(render_or_merge(template, &messages(&[("user", "hi")]), &words()).is_err());
    }

    #[test]
    fn json_is_not_escaped_for_html() {
        let text = render_or_merge(
            "{{ messages[0].content | tojson }}",
            &messages(&[("user", "<a&'b'>")]),
            &words(),
        );
        assert_eq!(text.expect("plain"), "\"<a&'b'>\"");
    }

    #[test]
    fn what_would_steer_the_model_is_broken_up() {
        let controls = ["<|im_end|>".to_owned()];
        assert_eq!(defuse("a<|im_end|>b", &controls), "a< |im_end|>b");
    }

    #[test]
    fn dates_are_as_python_writes_them() {
        // 2024-02-29 is day 19,782; it was a Thursday.
        let seconds = 19_782 * 86_400 + 13 * 3600 + 5 * 60;
        assert_eq!(strftime("%a %d %b %Y, %B %H:%M %%", seconds), "Thu 29 Feb 2024, February 13:05 %");
    }
}

//! Plain columns for people: as wide as their widest cell, two spaces between. What is too long for the screen goes on
//! below, moved in.

use std::io::{self, IsTerminal as _};

/// How far a line below its row is moved in.
const INDENT: &str = "    ";

/// Lays out rows under a heading, for the screen; the last column is not padded.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(ToString::to_string).collect();
    let rows: Vec<&Vec<String>> = std::iter::once(&heading).chain(rows).collect();
    lay_out(&rows, screen_columns())
}

/// Lays out rows without a heading, for the screen.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    lay_out(&rows.iter().collect::<Vec<_>>(), screen_columns())
}

/// How many characters a line of the screen has; `None` where stdout is a file or a pipe, whose lines have no end.
fn screen_columns() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|&num_columns| num_columns > 0)
}

fn lay_out(rows: &[&Vec<String>], screen_columns: Option<usize>) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(*row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    rows.iter().map(|row| lines(row, &widths, screen_columns)).collect()
}

/// A row: on one line, or with its last cells below, so many that the rest is short enough.
fn lines(row: &[String], widths: &[usize], screen_columns: Option<usize>) -> String {
    let mut num_cells = row.len();
    let is_too_long = |num_cells: usize| {
        let columns = line(&row[..num_cells], widths).chars().count();
        screen_columns.is_some_and(|most| columns > most)
    };
    while num_cells > 1 && is_too_long(num_cells) {
        num_cells -= 1;
    }
    let mut text = line(&row[..num_cells], widths) + "\n";
    let mut below = String::new();
    for cell in row[num_cells..].iter().filter(|cell| !cell.is_empty()) {
        let beside = format!("{below}  {cell}");
        let is_short = screen_columns.is_none_or(|most| beside.chars().count() <= most);
        if !below.is_empty() && is_short {
            below = beside;
        } else {
            text.push_str(&ended(below));
            below = format!("{INDENT}{cell}");
        }
    }
    text + &ended(below)
}

fn ended(line: String) -> String {
    if line.is_empty() { line } else { line + "\n" }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        line.push_str(cell);
        let padding = width - cell.chars().count() + 2;
        line.extend(std::iter::repeat_n(' ', padding));
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: &[&[&str]], screen_columns: Option<usize>) -> String {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        lay_out(&rows.iter().collect::<Vec<_>>(), screen_columns)
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["x", "y"], &rows), "x     y\na     1\nlong  22\n");
    }

    #[test]
    fn what_is_too_long_for_the_screen_goes_on_below() {
        let rows: [&[&str]; 3] =
            [&["WHAT", "WHY", "WHERE"], &["a", "short", ""], &["b", "a long why", "here"]];
        let wide = "WHAT  WHY         WHERE\na     short\nb     a long why  here\n";
        assert_eq!(shown(&rows, None), wide);
        assert_eq!(shown(&rows, Some(23)), wide);
        // 22 is one too few for the heading, and enough for the rest.
        let narrow = "WHAT  WHY\n    WHERE\na     short\nb     a long why  here\n";
        assert_eq!(shown(&rows, Some(22)), narrow);
        // 15 are too few for the reason, and enough for one cell below beside its first 4 characters.
        let narrower = "WHAT  WHY\n    WHERE\na     short\nb\n    a long why\n    here\n";
        assert_eq!(shown(&rows, Some(15)), narrower);
        assert_eq!(shown(&[&["a long first", "b", "c", ""]], Some(12)), "a long first\n    b  c\n");
    }
}

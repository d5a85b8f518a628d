//! Numbers of bytes for people.

/// A number of bytes for people, in powers of 1000 as shops and phone companies count.
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, f64); 4] = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let value = bytes as f64;
    for (name, factor) in UNITS {
        if value >= factor * 0.9995 {
            let scaled = value / factor;
            let digits = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
            return format!("{scaled:.digits$} {name}");
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let shown: Vec<String> = [0, 999, 1_000, 491_400_032, 999_999_999, 12_300_000_000].map(size).to_vec();
        assert_eq!(shown, ["0 B", "999 B", "1.00 kB", "491 MB", "1.00 GB", "12.3 GB"]);
    }
}

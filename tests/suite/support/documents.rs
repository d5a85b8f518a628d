//! Documents made on the spot: a small PDF by hand, a page of HTML, and files that are broken in known ways.

/// A PDF of one page for each text, written object by object as in the PDF reference, chapter 7.
pub(crate) fn pdf(pages: &[&str]) -> Vec<u8> {
    let num_pages = pages.len();
    let kids: Vec<String> = (0..num_pages).map(|page| format!("{} 0 R", 4 + 2 * page)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{}] /Count {num_pages} >>", kids.join(" ")),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    for (page, text) in pages.iter().enumerate() {
        let contents = 5 + 2 * page;
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {contents} 0 R \
             /Resources << /Font << /F1 3 0 R >> >> >>"
        ));
        let shown: Vec<String> = text.lines().map(|line| format!("({line}) Tj T*")).collect();
        let stream = format!("BT /F1 12 Tf 14 TL 72 770 Td {} ET", shown.join(" "));
        objects.push(format!("<< /Length {} >>\nstream\n{stream}\nendstream", stream.len()));
    }
    assemble(&objects)
}

fn assemble(objects: &[String]) -> Vec<u8> {
    let mut bytes = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        offsets.push(bytes.len());
        bytes.extend_from_slice(format!("{} 0 obj\n{object}\nendobj\n", number + 1).as_bytes());
    }
    let table = bytes.len();
    bytes.extend_from_slice(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).as_bytes());
    for offset in offsets {
        bytes.extend_from_slice(format!("{offset:010} 00000 n \n").as_bytes());
    }
    let trailer =
        format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1);
    bytes.extend_from_slice(trailer.as_bytes());
    bytes
}

/// A page of HTML with what pages have around their text.
pub(crate) const HTML: &str = "<!doctype html><html><head><title>Keeping vaccines cold</title>\
    <style>p { color: red }</style><script>var hidden = 'zebra';</script></head><body>\
    <nav><a href='/'>Home</a></nav><h1>Keeping vaccines cold</h1>\
    <p>A vaccine refrigerator must stay between 2 and 8 degrees.</p>\
    <ul><li>Check the thermometer twice a day.</li><li>Write the temperature down.</li></ul>\
    <table><tr><th>Vaccine</th><th>Freezes</th></tr><tr><td>Tetanus</td><td>damaged by frost</td></tr></table>\
    </body></html>";

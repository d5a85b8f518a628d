//! The words for whoever finds the stick, localml at hand or not.

/// `README.TXT`, with the line ends that every editor shows.
pub(super) fn text() -> String {
    TEXT.replace('\n', "\r\n")
}

const TEXT: &str = "\
LOCALML: AI models and knowledge, carried where there is no internet
====================================================================

With localml on a computer:

    localml import DIR        installs what this stick carries (DIR: where the stick is)

Everything is checked before it is used. The stick can be copied file by file to other sticks.
Please change, rename and delete nothing inside the LOCALML folder.


Without localml, in an emergency
--------------------------------
B/<id>/BUNDLE.JSON lists the files of each package with their sha256. The volumes B/<id>/V0001.TAR,
V0002.TAR ... are plain tar files. Each entry is a piece of a file, named

    <sha256 of the file>.<piece number>

To rebuild a file: make an empty folder on a disk with room, go there, unpack all volumes of the
bundle, and put the pieces together in order:

    for volume in /path/to/LOCALML/B/<id>/V*.TAR; do tar -xf \"$volume\"; done
    cat <sha256>.?????? > model.gguf

Pieces of text files end in .zst (they are compressed; the program zstd reads them):

    cat <sha256>.??????.zst | zstd -dc > tokenizer.json

Then check it: `sha256sum model.gguf` must print the same sha256. On Windows: `tar -xf`, and
`copy /b` in place of cat.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_a_narrow_screen_and_old_editors() {
        assert!(text().is_ascii() && text().lines().all(|line| line.len() <= 100));
        assert_eq!(text().matches('\n').count(), text().matches("\r\n").count());
    }
}

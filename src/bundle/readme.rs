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


No localml on the computer yet
------------------------------
If there is a folder BIN here, localml itself lies in it, one folder for each kind of computer.
Open a terminal and run the script in the right one:

    sh DIR/LOCALML/BIN/X86_64-UNKNOWN-LINUX-GNU/START.SH

It checks the files, says what to ask the publisher by telephone before the first run, copies
localml to the computer, and names the next command. On Windows it is called START.BAT.


What lies here
--------------
README.TXT         this text
STICK.A STICK.B    the list of all files with their sha256, kept twice
TRUST/             the signed lists: who vouches for the packages
B/<id>/            one delivery: BUNDLE.JSON says what is in it, V0001.TAR ... are the volumes
                   P0001.TAR ... are spare volumes, from which localml restores lost ones
BIN/               localml itself, where the sender put it
REQ/ RCP/          what a site asks for, and what it has received; take the stick back to the sender


Without localml, in an emergency
--------------------------------
B/<id>/BUNDLE.JSON lists the files of each package with their sha256. The volumes B/<id>/V0001.TAR,
V0002.TAR ... are plain tar files. Each entry is a piece of a file, named

    <sha256 of the file>.<piece number>

To rebuild a file: make an empty folder on a disk with room, go there, unpack all volumes of the
bundle, and put the pieces together in order:

    for volume in /path/to/LOCALML/B/<id>/V*.TAR; do tar -xf \"$volume\"; done
    cat <sha256>.?????? > model.gguf

A delivery may be spread over several sticks. Its folder B/<id> has the same name on each, and each
has some of the volumes: run the first line for every stick, in any order, before the second.
The spare volumes P0001.TAR ... are not needed for this, and do not help without localml.

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

//! The wall clock of a store, which can step: a few lines of C between the server and its kernel (`clock.c`).

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

const SOURCE: &str = include_str!("clock.c");

pub struct StoreClock {
    library: PathBuf,
    /// Holds how many seconds it is ahead.
    file: PathBuf,
}

impl StoreClock {
    /// Compiles what is preloaded, into `folder`.
    pub fn build(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let (source, library, file) = (folder.join("clock.c"), folder.join("clock.so"), folder.join("clock"));
        std::fs::write(&source, SOURCE)?;
        std::fs::write(&file, 0i64.to_ne_bytes())?;
        let mut compiler = Command::new("gcc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
        let status = compiler.status().context("gcc can't be run: is it installed? (scripts/setup)")?;
        if !status.success() {
            bail!("clock.c does not compile");
        }
        Ok(Self { library, file })
    }

    /// What a server is started with, by `env`.
    pub fn variables(&self) -> [String; 2] {
        [format!("LD_PRELOAD={}", self.library.display()), format!("CLOCK_FILE={}", self.file.display())]
    }

    /// Steps the clock of the server that runs, and of those that are started later.
    pub fn step(&self, seconds: i64) -> anyhow::Result<()> {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&self.file)?;
        let mut ahead = [0; 8];
        file.read_exact_at(&mut ahead, 0)?;
        let ahead = i64::from_ne_bytes(ahead).saturating_add(seconds);
        file.write_all_at(&ahead.to_ne_bytes(), 0).context("the clock can't be set")
    }
}

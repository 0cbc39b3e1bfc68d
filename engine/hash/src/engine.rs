//! Which kernels this processor gets: detection, the operator's choice, and the plans for one and for many messages.
//! The kernels themselves live in `portable.rs`, `asm.rs` and `x86/`.

use std::ffi::OsString;
use std::fmt;
use std::sync::OnceLock;

use thiserror::Error;

use crate::digest::{Sha1Digest, Sha256Digest};
use crate::kernel::Plan;
#[cfg(not(target_arch = "x86_64"))]
use crate::kernel::Tier;
#[cfg(target_arch = "x86_64")]
use crate::x86::tiers;
use crate::{many, portable};

/// The environment variable that forces a path: the [`Path::name`] of one of them.
pub const PATH_VARIABLE: &str = "SPILLWAY_HASH";

/// A family of kernels. Each takes what it lacks (single streams, or one of the algorithms) from the best of those below
/// it in this list that the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Sixteen lanes of AVX-512.
    Avx512,
    /// Eight lanes of AVX2, or twice eight.
    Avx2,
    /// One, two or four interleaved streams of the SHA extensions.
    ShaNi,
    /// The scalar SHA-1 of `sha1-asm`, one stream.
    Asm,
    /// Plain Rust, one stream.
    Portable,
}

impl Path {
    /// All of them.
    pub const ALL: [Path; 5] = [Path::Avx512, Path::Avx2, Path::ShaNi, Path::Asm, Path::Portable];

    /// What the operator writes in [`PATH_VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Path::Avx512 => "avx512",
            Path::Avx2 => "avx2",
            Path::ShaNi => "shani",
            Path::Asm => "asm",
            Path::Portable => "portable",
        }
    }

    /// Whether this processor, and this build, can run it.
    pub fn is_supported(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => crate::x86::has_avx512(),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => crate::x86::has_avx2(),
            #[cfg(target_arch = "x86_64")]
            Path::ShaNi => crate::x86::has_sha_ni(),
            Path::Asm => cfg!(all(target_arch = "x86_64", not(windows))),
            Path::Portable => true,
            #[cfg(not(target_arch = "x86_64"))]
            Path::Avx512 | Path::Avx2 | Path::ShaNi => false,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The operator asked for a path that cannot be had.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EngineError {
    /// No path has this name.
    #[error("{PATH_VARIABLE}={value:?} names no hash path: it is one of avx512, avx2, shani, asm, portable")]
    Unknown {
        /// What the variable held.
        value: OsString,
    },
    /// The processor lacks it, or the build does.
    #[error("{PATH_VARIABLE}={path}: this processor cannot run that hash path")]
    Unsupported {
        /// What was asked for.
        path: Path,
    },
}

/// The hash paths in use. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    path: Path,
    pub(crate) sha1: Plan<5>,
    pub(crate) sha256: Plan<8>,
}

impl Engine {
    /// The fastest engine that this processor can run.
    pub fn detect() -> Engine {
        let order = [Path::Avx512, streams_or_lanes(), Path::Avx2, Path::ShaNi, Path::Asm];
        Engine::build(order.into_iter().find(|path| path.is_supported()).unwrap_or(Path::Portable))
    }

    /// The engine of one path, for tests and measurements.
    pub fn with_path(path: Path) -> Result<Engine, EngineError> {
        if path.is_supported() { Ok(Engine::build(path)) } else { Err(EngineError::Unsupported { path }) }
    }

    /// What [`PATH_VARIABLE`] asks for, or the detected engine if it is unset or empty.
    pub fn from_env() -> Result<Engine, EngineError> {
        match std::env::var_os(PATH_VARIABLE) {
            Some(value) if !value.is_empty() => Engine::from_name(value),
            _ => Ok(Engine::detect()),
        }
    }

    fn from_name(value: OsString) -> Result<Engine, EngineError> {
        match Path::ALL.into_iter().find(|path| value == path.name()) {
            Some(path) => Engine::with_path(path),
            None => Err(EngineError::Unknown { value }),
        }
    }

    /// The process-wide engine, that of the free functions. A bad [`PATH_VARIABLE`] means the detected one here;
    /// [`crate::self_test`], called at start, is where the operator reads of it.
    pub fn current() -> &'static Engine {
        static CURRENT: OnceLock<Engine> = OnceLock::new();
        CURRENT.get_or_init(|| Engine::from_env().unwrap_or_else(|_| Engine::detect()))
    }

    /// The family that the widest kernels come from.
    pub fn path(&self) -> Path {
        self.path
    }

    /// The SHA-1 of one message.
    pub fn sha1(&self, data: &[u8]) -> Sha1Digest {
        let mut digest = Sha1Digest::default();
        many::each(&self.sha1, &[data], |_, state| digest = Sha1Digest::from_state(state));
        digest
    }

    /// The SHA-256 of one message.
    pub fn sha256(&self, data: &[u8]) -> Sha256Digest {
        let mut digest = Sha256Digest::default();
        many::each(&self.sha256, &[data], |_, state| digest = Sha256Digest::from_state(state));
        digest
    }

    /// The SHA-1 of each message, of any lengths. Panics unless `out` is as long as `messages`.
    pub fn sha1_many(&self, messages: &[&[u8]], out: &mut [Sha1Digest]) {
        assert_eq!(messages.len(), out.len(), "one digest per message");
        many::each(&self.sha1, messages, |index, state| out[index] = Sha1Digest::from_state(state));
    }

    /// The SHA-256 of each message, of any lengths. Panics unless `out` is as long as `messages`.
    pub fn sha256_many(&self, messages: &[&[u8]], out: &mut [Sha256Digest]) {
        assert_eq!(messages.len(), out.len(), "one digest per message");
        many::each(&self.sha256, messages, |index, state| out[index] = Sha256Digest::from_state(state));
    }

    /// The engine of a path that is supported.
    fn build(path: Path) -> Engine {
        let (sha1, sha256) = tiers(path);
        Engine {
            path,
            sha1: Plan::new(portable::SHA1_START, &sha1),
            sha256: Plan::new(portable::SHA256_START, &sha256),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SHA-1: {}; SHA-256: {})", self.path, self.sha1, self.sha256)
    }
}

/// What serves best without AVX-512 where both are there: four interleaved streams of the SHA extension beat AVX2 on AMD, on
/// Intel it is the other way round (engine/decisions/hash-paths.md).
fn streams_or_lanes() -> Path {
    #[cfg(target_arch = "x86_64")]
    if crate::x86::streams_share_one_port() {
        return Path::Avx2;
    }
    Path::ShaNi
}

#[cfg(not(target_arch = "x86_64"))]
fn tiers(_: Path) -> (Vec<Tier<5>>, Vec<Tier<8>>) {
    (vec![Tier { from: 1, kernel: portable::SHA1 }], vec![Tier { from: 1, kernel: portable::SHA256 }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_path_is_an_error_that_lists_the_names() {
        let error = Engine::from_name("avx1024".into()).unwrap_err();
        assert_eq!(error, EngineError::Unknown { value: "avx1024".into() });
        for path in Path::ALL {
            assert!(error.to_string().contains(path.name()), "{error}");
        }
    }

    #[test]
    fn an_unsupported_path_is_an_error_not_an_illegal_instruction() {
        for path in Path::ALL {
            let engine = Engine::from_name(path.name().into());
            assert_eq!(engine.is_ok(), path.is_supported(), "{path}");
            assert_eq!(engine.err(), (!path.is_supported()).then_some(EngineError::Unsupported { path }));
        }
    }

    #[test]
    fn the_detected_engine_is_one_that_the_processor_supports() {
        assert!(Engine::detect().path().is_supported());
    }
}

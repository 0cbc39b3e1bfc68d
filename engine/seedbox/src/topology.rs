//! Which cores the shards are pinned to, and where control runs.

use crate::StartError;

/// The cores of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// One core a shard.
    pub shard_cores: Vec<usize>,
    /// The core that control is pinned to, where one is left; else control runs wherever there is time.
    pub control_core: Option<usize>,
}

impl Topology {
    /// Takes `shards` of the cores that this process may run on; by default all of them.
    pub fn choose(shards: Option<usize>) -> Result<Topology, StartError> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let cores: Vec<usize> = cores.into_iter().map(|core| core.id).collect();
        split(&cores, shards)
    }
}

fn split(cores: &[usize], shards: Option<usize>) -> Result<Topology, StartError> {
    let shard_count = shards.unwrap_or(cores.len());
    if shard_count == 0 || shard_count > cores.len() {
        return Err(StartError::Shards { asked: shard_count, cores: cores.len() });
    }
    // Control takes the first core, which commonly serves interrupts too; shards take the others.
    let (shard_cores, control_core) = match cores.split_first() {
        Some((first, others)) if shard_count < cores.len() => (&others[..shard_count], Some(*first)),
        _ => (cores, None),
    };
    Ok(Topology { shard_cores: shard_cores.to_vec(), control_core })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_take_every_core_unless_told_otherwise() {
        let topology = split(&[0, 1, 4], None).unwrap();
        assert_eq!(topology, Topology { shard_cores: vec![0, 1, 4], control_core: None });
    }

    #[test]
    fn control_gets_a_core_that_no_shard_is_pinned_to() {
        let topology = split(&[0, 1, 4], Some(2)).unwrap();
        assert_eq!(topology, Topology { shard_cores: vec![1, 4], control_core: Some(0) });
    }

    #[test]
    fn more_shards_than_cores_is_an_error_that_names_both() {
        let error = split(&[0, 1], Some(3)).unwrap_err();
        assert!(error.to_string().contains('3') && error.to_string().contains('2'), "{error}");
    }
}

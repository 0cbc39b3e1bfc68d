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
    /// Takes `shards` of the cores that this process may run on, or of those of `wanted`; by default all of them.
    pub fn choose(shards: Option<usize>, wanted: Option<&[usize]>) -> Result<Topology, StartError> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let cores: Vec<usize> = cores.into_iter().map(|core| core.id).collect();
        match wanted {
            Some(wanted) => take(&cores, wanted, shards),
            None => split(&cores, shards),
        }
    }
}

/// The shards on cores of an operator's choice, control on another one.
fn take(cores: &[usize], wanted: &[usize], shards: Option<usize>) -> Result<Topology, StartError> {
    let is_twice = |(n, core): (usize, &usize)| wanted[..n].contains(core);
    if wanted.is_empty() || wanted.iter().enumerate().any(is_twice) {
        return Err(StartError::Cores { reason: "each core is named once, and one at least".to_owned() });
    }
    if let Some(missing) = wanted.iter().find(|core| !cores.contains(core)) {
        let all: Vec<String> = cores.iter().map(ToString::to_string).collect();
        let reason = format!("this process may not run on core {missing}, but on {}", all.join(", "));
        return Err(StartError::Cores { reason });
    }
    let shard_count = shards.unwrap_or(wanted.len());
    let Some(shard_cores) = wanted.get(..shard_count).filter(|_| shard_count > 0) else {
        return Err(StartError::Shards { asked: shard_count, cores: wanted.len() });
    };
    let control_core = cores.iter().copied().find(|core| !shard_cores.contains(core));
    Ok(Topology { shard_cores: shard_cores.to_vec(), control_core })
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
    fn an_operator_chooses_the_cores_and_control_gets_one_of_the_others() {
        let chosen = take(&[0, 1, 4, 5], &[5, 0], None).unwrap();
        assert_eq!(chosen, Topology { shard_cores: vec![5, 0], control_core: Some(1) });
        let fewer = take(&[0, 1], &[1, 0], Some(1)).unwrap();
        assert_eq!(fewer, Topology { shard_cores: vec![1], control_core: Some(0) });
        assert_eq!(take(&[0, 1], &[0, 1], None).unwrap().control_core, None);
    }

    #[test]
    fn cores_that_are_not_there_or_named_twice_are_errors_that_say_so() {
        let error = |wanted: &[usize], shards| take(&[0, 1], wanted, shards).unwrap_err().to_string();
        assert!(error(&[0, 7], None).contains("core 7, but on 0, 1"));
        assert!(error(&[1, 1], None).contains("once") && error(&[], None).contains("one at least"));
        assert!(error(&[1], Some(2)).contains("--shards") && error(&[1], Some(0)).contains("--shards"));
    }

    #[test]
    fn more_shards_than_cores_is_an_error_that_names_both() {
        let error = split(&[0, 1], Some(3)).unwrap_err();
        assert!(error.to_string().contains('3') && error.to_string().contains('2'), "{error}");
    }
}

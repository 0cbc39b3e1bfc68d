//! Hands libFuzzer's input to the target of the same name.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_bodies::dht_datagram(input));

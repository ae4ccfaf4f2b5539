//! transformers' `config.json` and, after a line `==`, `preprocessor_config.json`, next to a small model.
#![no_main]

libfuzzer_sys::fuzz_target!(init: mae_fuzz::weights::write_model(), |text: &str| mae_fuzz::weights::config(text));

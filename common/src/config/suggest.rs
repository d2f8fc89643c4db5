//! Did you mean …?

/// The word of `known` that `word` most likely stands for, if any is close.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|&(score, _)| score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_words_are_found_and_far_ones_are_not() {
        let known = ["export", "image", "context", "history"];
        assert_eq!(closest("exprot", known), Some("export"));
        assert_eq!(closest("contexts", known), Some("context"));
        assert_eq!(closest("zzz", known), None);
    }
}

//! Buckets as streams: a bucket `b` is the stream `KV_b`, its key `k` the subject `$KV.b.k`.

/// The stream of a bucket.
pub fn stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// The subject of a key.
pub fn subject(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// The key of a subject of this bucket.
pub fn key<'a>(bucket: &str, subject: &'a str) -> Option<&'a str> {
    subject.strip_prefix("$KV.")?.strip_prefix(bucket)?.strip_prefix('.')
}

//! `include/tractor.h` is what the sources say. With `TRACTOR_WRITE_HEADER` set it is written anew.

use std::fs;
use std::path::Path;

use cbindgen::{Builder, Config, DocumentationStyle, Language, Style};

/// In the order of the header.
const SOURCES: [&str; 6] = [
    "status.rs",
    "end.rs",
    "callbacks.rs",
    "guest.rs",
    "worker.rs",
    "context.rs",
];

fn generated() -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = Config {
        language: Language::C,
        include_guard: Some("TRACTOR_H".into()),
        cpp_compat: true,
        usize_is_size_t: true,
        style: Style::Type,
        documentation_style: DocumentationStyle::C99,
        no_includes: true,
        sys_includes: vec!["stddef.h".into(), "stdint.h".into()],
        sort_by: cbindgen::SortKey::None,
        ..Config::default()
    };
    config.header = Some(overview(&dir.join("src/lib.rs")));
    for (name, c_name) in [
        ("Guest", "tractor_guest"),
        ("End", "tractor_end"),
        ("WorkerOptions", "tractor_worker_options"),
        ("ContextOptions", "tractor_context_options"),
        ("WorkerEnded", "tractor_worker_ended"),
        ("ContextEnded", "tractor_context_ended"),
        ("ValueCame", "tractor_value_came"),
        ("RoomMade", "tractor_room_made"),
        ("Notify", "tractor_notify"),
    ] {
        config.export.rename.insert(name.into(), c_name.into());
    }
    let mut builder = Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(dir.join("src").join(source));
    }
    let mut header = Vec::new();
    builder
        .generate()
        .expect("the sources can be bound")
        .write(&mut header);
    String::from_utf8(header).expect("it is text")
}

/// What the crate's documentation says, as a comment.
fn overview(lib: &Path) -> String {
    let lib = fs::read_to_string(lib).expect("it is there");
    let lines = lib.lines().take_while(|line| line.starts_with("//!"));
    let lines: Vec<_> = lines.map(|line| format!("//{}", &line[3..])).collect();
    lines.join("\n")
}

#[test]
fn header_is_what_the_sources_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/tractor.h");
    let generated = generated();
    if std::env::var_os("TRACTOR_WRITE_HEADER").is_some() {
        fs::write(&path, &generated).expect("it can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == generated,
        "include/tractor.h is out of date: TRACTOR_WRITE_HEADER=1 cargo test -p tractor-ffi --test header"
    );
}

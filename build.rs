//! Compiles `proto/` with protox (no installed `protoc`), and writes the table
//! of who may call what from the `(mandate.v1.access)` options. A method that
//! declares nothing does not build.

#[cfg(not(feature = "gateway"))]
fn main() {}

#[cfg(feature = "gateway")]
fn main() -> Result<(), wire::Fault> {
    wire::compile()
}

#[cfg(feature = "gateway")]
mod wire {
    use std::fmt::Write as _;
    use std::path::{Path, PathBuf};

    use protox::prost_reflect::{DynamicMessage, MethodDescriptor, Value};

    pub type Fault = Box<dyn std::error::Error>;

    pub fn compile() -> Result<(), Fault> {
        println!("cargo:rerun-if-changed=proto");
        println!("cargo:rerun-if-changed=migrations");
        let out = PathBuf::from(std::env::var("OUT_DIR")?);
        let mut files: Vec<PathBuf> = std::fs::read_dir("proto/mandate/v1")?
            .map(|entry| entry.map(|e| Path::new("mandate/v1").join(e.file_name())))
            .collect::<Result<_, _>>()?;
        files.sort();

        let mut compiler = protox::Compiler::new(["proto"])?;
        compiler.include_imports(true).open_files(&files)?;
        // With source info, so that the comments become docs and reach reflection clients.
        compiler.include_source_info(true);
        std::fs::write(out.join("mandate.fds"), compiler.encode_file_descriptor_set())?;
        std::fs::write(out.join("access_rules.rs"), access_rules(&compiler)?)?;
        let set = compiler.file_descriptor_set();
        tonic_prost_build::configure()
            .bytes(".mandate.v1")
            .codec_path("crate::grpc::codec::SmallBuffers")
            .compile_fds(set)?;
        Ok(())
    }

    /// One `Rule` literal for each method, in the order of their paths.
    fn access_rules(compiler: &protox::Compiler) -> Result<String, Fault> {
        let pool = compiler.descriptor_pool();
        let mut rules = std::collections::BTreeMap::new();
        for service in pool.services().filter(|s| s.package_name() == "mandate.v1") {
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let rule = rule(&method).ok_or_else(|| format!("{path} declares no (mandate.v1.access)"))?;
                rules.insert(path, rule);
            }
        }
        let mut text = String::from("&[\n");
        for (path, rule) in rules {
            writeln!(text, "    Rule {{ path: {path:?}, {rule} }},")?;
        }
        text.push_str("]\n");
        Ok(text)
    }

    fn rule(method: &MethodDescriptor) -> Option<String> {
        let pool = method.parent_pool();
        let extension = pool.get_extension_by_name("mandate.v1.access")?;
        let options: DynamicMessage = method.options();
        if !options.has_extension(&extension) {
            return None;
        }
        let value = options.get_extension(&extension);
        let access = value.as_message()?;
        let kinds: Vec<String> = access
            .get_field_by_name("kinds")?
            .as_list()?
            .iter()
            .filter_map(Value::as_enum_number)
            .map(|number| {
                match number {
                    1 => "Kind::Controller",
                    2 => "Kind::Support",
                    3 => "Kind::Auditor",
                    4 => "Kind::Operator",
                    5 => "Kind::Agent",
                    6 => "Kind::Witness",
                    _ => "declared with no kind",
                }
                .to_owned()
            })
            .collect();
        let scope = access.get_field_by_name("scope")?.as_str()?.to_owned();
        let records = access.get_field_by_name("records")?.as_str()?.to_owned();
        if kinds.is_empty() || scope.split('.').count() != 2 || records.is_empty() {
            return None;
        }
        Some(format!("kinds: &[{}], scope: {scope:?}, records: {records:?}", kinds.join(", ")))
    }
}

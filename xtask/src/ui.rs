//! The console: Rust to wasm, wasm-bindgen, wasm-opt, Tailwind, esbuild, hashed names, compressed copies.
//!
//! Everything lands in `ui-leptos/dist`, which the cloud embeds. Nothing is done when no input has changed.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use wasm_bindgen_cli_support::Bindgen;

use crate::{paths, step::Steps, tools::Tool};

/// Bytes that the whole console may have after brotli, without on-demand widgets; more fails the build.
const BUDGET: usize = 462_000;

/// What the browsers of the last years know; with `--all-features` wasm-opt writes imports that Chromium refuses.
const WASM_FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-multivalue",
];

/// Options of `cargo xtask ui`.
#[derive(Debug, Clone, Args, Default)]
pub(crate) struct Options {
    /// Quick build for working on the console: not optimised, larger.
    #[arg(long)]
    pub(crate) dev: bool,
    /// Build even when nothing has changed.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Runs `cargo xtask ui`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build(options)?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the console into `ui-leptos/dist`, unless it is there and up to date.
pub(crate) fn build(options: &Options) -> Result<()> {
    let place = Place::new(options.dev);
    let inputs = place.inputs()?;
    if !options.force && place.is_fresh(&inputs) {
        println!("console: up to date in {}", place.dist.display());
        return Ok(());
    }
    let mut steps = Steps::new(6);
    steps.step("console: npm packages (esbuild, tailwind, wasm-opt)", || {
        place.npm_install()
    })?;
    steps.step("console: Rust to wasm (the first time takes a few minutes)", || {
        Tool::WasmTarget.ensure()?;
        place.cargo()
    })?;
    steps.step("console: wasm-bindgen", || place.bindgen())?;
    steps.step("console: wasm-opt", || place.wasm_opt())?;
    steps.step("console: styles and scripts", || place.styles_and_scripts())?;
    let total = steps.step("console: hashed names and compressed copies", || place.assemble())?;
    ensure!(
        options.dev || total <= BUDGET,
        "the console is {total} bytes after brotli, its budget is {BUDGET}: something large came in"
    );
    fs::write(&place.stamp, inputs).with_context(|| format!("write {}", place.stamp.display()))?;
    println!(
        "console: {} in {}, {} kB over the wire",
        place.dist.display(),
        steps.elapsed(),
        total / 1000
    );
    Ok(())
}

/// Where the parts of a build are.
struct Place {
    dev: bool,
    /// `ui-leptos`.
    source: PathBuf,
    /// Half-made things.
    work: PathBuf,
    dist: PathBuf,
    stamp: PathBuf,
}

impl Place {
    fn new(dev: bool) -> Self {
        let source = paths::root().join("ui-leptos");
        let work = paths::target()
            .join("opslink-ui")
            .join(if dev { "dev" } else { "release" });
        Self {
            dev,
            dist: source.join("dist"),
            stamp: paths::target().join("opslink-ui/stamp"),
            work,
            source,
        }
    }

    /// A hash of everything that the result depends on.
    fn inputs(&self) -> Result<String> {
        let root = paths::root();
        let mut files = Vec::new();
        for part in [
            "ui-leptos/src",
            "ui-leptos/js",
            "ui-leptos/css",
            "ui-leptos/locales",
            "ui-leptos/public",
            "proto",
        ] {
            collect(&root.join(part), &mut files)?;
        }
        for file in [
            "ui-leptos/index.html",
            "ui-leptos/Cargo.toml",
            "ui-leptos/package-lock.json",
            "Cargo.toml",
            "build.rs",
        ] {
            files.push(root.join(file));
        }
        files.push(root.join("xtask/src/ui.rs"));
        files.sort();
        let mut hasher = blake3::Hasher::new();
        hasher.update(if self.dev { b"dev" } else { b"release" });
        for file in files {
            let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            hasher
                .update(file.as_os_str().as_encoded_bytes())
                .update(&bytes.len().to_le_bytes())
                .update(&bytes);
        }
        for (name, version) in locked_versions(&["wasm-bindgen", "leptos", "prost"])? {
            hasher.update(name.as_bytes()).update(version.as_bytes());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    fn is_fresh(&self, inputs: &str) -> bool {
        self.dist.join("index.html").is_file() && fs::read_to_string(&self.stamp).is_ok_and(|stamp| stamp == inputs)
    }

    fn npm_install(&self) -> Result<()> {
        let lock = fs::read(self.source.join("package-lock.json")).context("read ui-leptos/package-lock.json")?;
        let wanted = blake3::hash(&lock).to_hex().to_string();
        let mark = self.source.join("node_modules/.opslink-lock");
        if fs::read_to_string(&mark).is_ok_and(|have| have == wanted) {
            return Ok(());
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&self.source);
        execute(&mut npm).context("npm (Node.js 20 or newer) could not install the build tools of the console")?;
        fs::write(&mark, wanted).with_context(|| format!("write {}", mark.display()))
    }

    fn profile(&self) -> &'static str {
        if self.dev { "wasm-dev" } else { "wasm" }
    }

    fn cargo(&self) -> Result<()> {
        let crate_version = locked_versions(&["wasm-bindgen"])?
            .remove("wasm-bindgen")
            .unwrap_or_default();
        let tool_version = wasm_bindgen_shared_version();
        ensure!(
            crate_version == tool_version,
            "crate wasm-bindgen is {crate_version}, xtask's wasm-bindgen-cli-support is {tool_version}: make them equal \
             in Cargo.toml"
        );
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--package", "opslink-ui", "--bin", "opslink-ui"]);
        cargo.args(["--target", "wasm32-unknown-unknown", "--profile", self.profile()]);
        // RUSTFLAGS of the host build do not concern the browser.
        execute(cargo.current_dir(paths::root()))
    }

    fn bindgen(&self) -> Result<()> {
        let input = paths::target()
            .join("wasm32-unknown-unknown")
            .join(self.profile())
            .join("opslink-ui.wasm");
        let out = self.work.join("bindgen");
        recreate(&out)?;
        Bindgen::new()
            .input_path(input)
            .out_name("opslink")
            .web(true)?
            .typescript(false)
            .omit_default_module_path(true)
            .remove_name_section(!self.dev)
            .remove_producers_section(true)
            .generate(&out)
    }

    fn wasm_opt(&self) -> Result<()> {
        let (input, output) = (
            self.work.join("bindgen/opslink_bg.wasm"),
            self.work.join("opslink.wasm"),
        );
        if self.dev {
            fs::copy(&input, &output)?;
            return Ok(());
        }
        let mut tool = Command::new(self.source.join("node_modules/.bin/wasm-opt"));
        tool.arg("-Oz").args(WASM_FEATURES).arg(&input).arg("-o").arg(&output);
        execute(&mut tool)
    }

    fn styles_and_scripts(&self) -> Result<()> {
        let bin = self.source.join("node_modules/.bin");
        let mut tailwind = Command::new(bin.join("tailwindcss"));
        tailwind
            .arg("--input")
            .arg(self.source.join("css/main.css"))
            .arg("--output")
            .arg(self.work.join("app.css"));
        tailwind.arg("--minify");
        execute(tailwind.current_dir(&self.source))?;

        let wasm = hashed("opslink", "wasm", &fs::read(self.work.join("opslink.wasm"))?);
        for (entry, output) in [("main", "app.js"), ("boot", "boot.js")] {
            let mut esbuild = Command::new(bin.join("esbuild"));
            esbuild.arg(self.source.join(format!("js/{entry}.js")));
            esbuild.args(["--bundle", "--minify", "--target=es2022", "--log-level=warning"]);
            esbuild.arg(if entry == "main" {
                "--format=esm"
            } else {
                "--format=iife"
            });
            esbuild.arg(format!(
                "--alias:opslink-wasm={}",
                self.work.join("bindgen/opslink.js").display()
            ));
            esbuild.arg(format!("--define:WASM_URL=\"/assets/{wasm}\""));
            esbuild.arg(format!("--outfile={}", self.work.join(output).display()));
            execute(esbuild.current_dir(&self.source))?;
        }
        Ok(())
    }

    /// Puts the files together and returns their size after brotli.
    fn assemble(&self) -> Result<usize> {
        // Made beside and moved into place: a reader of `dist` never sees half of it.
        let fresh = self.source.join("dist.new");
        recreate(&fresh)?;
        fs::create_dir_all(fresh.join("assets"))?;
        let mut page = fs::read_to_string(self.source.join("index.html")).context("read ui-leptos/index.html")?;
        let mut total = 0;
        for (name, extension) in [("opslink", "wasm"), ("app", "js"), ("boot", "js"), ("app", "css")] {
            let bytes = fs::read(self.work.join(format!("{name}.{extension}")))?;
            let file = hashed(name, extension, &bytes);
            page = page.replace(&format!("%{name}.{extension}%"), &format!("/assets/{file}"));
            total += self.write(&fresh.join("assets").join(&file), &bytes)?;
        }
        let mut public = Vec::new();
        collect(&self.source.join("public"), &mut public)?;
        for file in public {
            let name = file.file_name().context("a public file has a name")?;
            total += self.write(&fresh.join(name), &fs::read(&file)?)?;
        }
        total += self.write(&fresh.join("index.html"), page.as_bytes())?;
        if self.dist.exists() {
            fs::remove_dir_all(&self.dist)?;
        }
        fs::rename(&fresh, &self.dist)?;
        Ok(total)
    }

    /// Writes a file with its `.br` and `.gz` beside it; returns the size of the former.
    fn write(&self, file: &Path, bytes: &[u8]) -> Result<usize> {
        fs::write(file, bytes).with_context(|| format!("write {}", file.display()))?;
        let (brotli_quality, gzip_level) = if self.dev { (3, 1) } else { (11, 9) };
        let mut packed = Vec::new();
        let params = brotli::enc::BrotliEncoderParams {
            quality: brotli_quality,
            lgwin: 22,
            ..Default::default()
        };
        brotli::BrotliCompress(&mut &*bytes, &mut packed, &params)?;
        fs::write(with_suffix(file, "br"), &packed)?;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(gzip_level));
        gzip.write_all(bytes)?;
        fs::write(with_suffix(file, "gz"), gzip.finish()?)?;
        println!(
            "    {:<28} {:>9} bytes, {:>7} after brotli",
            display_name(file),
            bytes.len(),
            packed.len()
        );
        Ok(packed.len())
    }
}

fn display_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn hashed(name: &str, extension: &str, bytes: &[u8]) -> String {
    let hash = blake3::hash(bytes).to_hex();
    format!("{name}-{}.{extension}", hash.get(..12).unwrap_or_default())
}

fn recreate(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read folder {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?
        } else {
            files.push(path)
        }
    }
    Ok(())
}

fn execute(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("start {program}"))?;
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    Ok(())
}

/// Versions of packages in the lock file.
fn locked_versions(names: &[&str]) -> Result<BTreeMap<String, String>> {
    let lock: toml::Table = fs::read_to_string(paths::root().join("Cargo.lock"))
        .context("read Cargo.lock")?
        .parse()?;
    let packages = lock
        .get("package")
        .and_then(toml::Value::as_array)
        .context("Cargo.lock has packages")?;
    let text = |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    Ok(packages
        .iter()
        .filter_map(|package| Some((text(package, "name")?, text(package, "version")?)))
        .filter(|(name, _)| names.contains(&name.as_str()))
        .collect())
}

/// The version of wasm-bindgen whose output the library in this program understands.
fn wasm_bindgen_shared_version() -> String {
    locked_versions(&["wasm-bindgen-cli-support"])
        .ok()
        .and_then(|mut versions| versions.remove("wasm-bindgen-cli-support"))
        .unwrap_or_default()
}

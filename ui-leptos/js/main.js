// Starts the console. WASM_URL is put in by `cargo xtask ui`.
import init from "opslink-wasm";

init({ module_or_path: WASM_URL }).catch((error) => {
  const boot = document.getElementById("boot");
  if (boot) {
    boot.textContent = `The console could not start: ${error}. Reload the page; if it happens again, use cloudctl.`;
    boot.setAttribute("role", "alert");
  }
});

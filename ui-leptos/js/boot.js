// Runs before the first paint, so that no page flashes in the wrong theme or language.
const read = (key) => {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
};
const theme = read("opslink.theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
const language = read("opslink.language") ?? navigator.language ?? "en";
document.documentElement.lang = language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";

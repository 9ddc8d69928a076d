() => {
  // Contrast as WCAG 2 defines it, in sRGB.
  const channels = colour => colour.match(/[\d.]+/g).map(Number);
  const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) =>
    0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = element => {
    const above = element.parentElement ? ground(element.parentElement) : [255, 255, 255];
    const [r, g, b, a = 1] = channels(getComputedStyle(element).backgroundColor);
    return [r, g, b].map((c, i) => c * a + above[i] * (1 - a));
  };
  const written = element => element.matches("input, textarea")
    || [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
  const read = [...document.querySelectorAll("body *")].filter(element =>
    written(element) && element.checkVisibility({visibilityProperty: true})
    && !element.closest("[disabled], script, style"));
  const faint = read.filter(element => {
    const [ink, paper] =
      [luminance(channels(getComputedStyle(element).color)), luminance(ground(element))];
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05) < 4.5;
  });
  return [read.length, faint.map(element => element.outerHTML)];
}

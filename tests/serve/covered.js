() => {
  const covered = new Set();
  const controls = [...document.querySelectorAll("#image img, #examples button, textarea, input")]
    .filter(control => control.type !== "file");
  for (let y = 0; y < document.scrollingElement.scrollHeight; y += 20) {
    scrollTo(0, y);
    for (const control of controls) {
      const box = control.getBoundingClientRect();
      const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
      if (y < 0 || y >= innerHeight || control.contains(document.elementFromPoint(x, y))) continue;
      covered.add(control.id || control.outerHTML);
    }
  }
  return [controls.length, [...covered]];
}

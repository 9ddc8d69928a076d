// Sorting and filtering, and folded parts opened for print. The page is whole without it.
"use strict";

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

// What a cell is sorted by: a figure where it begins with one, nothing where it is empty.
function keyOf(row, column) {
  const cell = row.cells[column];
  const text = cell.textContent.trim();
  if (text === "" || text === "-") return null;
  const figure = /^[<>]?([-+−]?\d+(?:\.\d+)?)(?![\w\/])/.exec(text);
  return figure ? Number(figure[1].replace("−", "-")) : text;
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return collator.compare(String(one), String(other));
}

// Rows are sorted within their group; what has no value stays last in either direction.
function sort(table, column, down) {
  for (const body of table.tBodies) {
    const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
    rows.sort(([one], [other]) => {
      if (one === null || other === null) return (one === null) - (other === null);
      return down ? compare(other, one) : compare(one, other);
    });
    body.append(...rows.map(([, row]) => row));
  }
}

// A figure is first sorted from the highest, text from the first letter.
function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", heading.dataset.sorted ?? "none");
    button.addEventListener("click", () => {
      const now = heading.getAttribute("aria-sort");
      const figure = heading.classList.contains("figure");
      const first = heading.dataset.first ?? (figure ? "descending" : "ascending");
      const second = first === "descending" ? "ascending" : "descending";
      const next = now === first ? second : first;
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", next);
      sort(table, column, next === "descending");
    });
  });
}

function makeFilter(form) {
  const boards = [...document.querySelectorAll("[data-board]")];
  const apply = () => {
    const text = form.elements.text.value.trim().toLowerCase();
    const source = form.elements.source.value;
    const attack = form.elements.attack.value;
    let shown = 0;
    let all = 0;
    for (const board of boards) {
      const fits =
        (source === "" || board.dataset.source === source) &&
        (attack === "" || board.dataset.board === attack);
      let found = false;
      for (const part of board.querySelectorAll("[data-text]")) {
        part.hidden = !(fits && part.dataset.text.toLowerCase().includes(text));
        const row = part.tagName === "TR";
        found ||= !part.hidden;
        shown += row && !part.hidden;
        all += row;
      }
      board.hidden = !found;
    }
    form.querySelector("output").textContent = `${shown} of ${all} rows`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

// A link to what is folded unfolds it.
function unfold() {
  const part = document.getElementById(location.hash.slice(1))?.closest("details");
  if (part) part.open = true;
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("form.controls").forEach(makeFilter);
window.addEventListener("hashchange", unfold);
unfold();

// Tells a table that is wider than its box from one that is whole.
function markWide() {
  for (const box of document.querySelectorAll(".box")) {
    box.classList.toggle("scrolls", box.scrollWidth > box.clientWidth + 1);
  }
}
markWide();
window.addEventListener("resize", markWide);
document.addEventListener("toggle", markWide, true);

let opened = [];
window.addEventListener("beforeprint", () => {
  const folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((part) => (part.open = true));
  opened.push(...folded);
});
window.addEventListener("afterprint", () => {
  opened.forEach((part) => (part.open = false));
  opened = [];
});

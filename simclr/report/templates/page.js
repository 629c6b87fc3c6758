"use strict";
for (const table of document.querySelectorAll("table[id]")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const words = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));

  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const falling = heading.getAttribute("aria-sort") === "ascending" ||
      (!heading.hasAttribute("aria-sort") && heading.classList.contains("number"));
    headings.forEach(each => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = row => row.cells[column].dataset.order;
    const numeric = heading.classList.contains("number") && rows.every(row => !Number.isNaN(Number(value(row).replace("inf", "Infinity"))));
    const compare = numeric
      ? (a, b) => Number(value(a).replace("inf", "Infinity")) - Number(value(b).replace("inf", "Infinity"))
      : (a, b) => value(a).localeCompare(value(b), "en", {numeric: true});
    rows.sort((a, b) => falling ? compare(b, a) : compare(a, b));
    body.append(...rows);
  }));

  const filter = document.querySelector(`input[data-filter="${table.id}"]`);
  const count = document.querySelector(`output[data-count="${table.id}"]`);
  filter.addEventListener("input", () => {
    const terms = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !terms.every(term => words.get(row).includes(term));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length}`;
  });
}

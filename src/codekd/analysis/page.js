// DataTables' stylesheet looks at this class.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", follow);
follow();

const dialog = document.querySelector("dialog");
for (const figure of document.querySelectorAll("figure")) {
  const place = figure.querySelector(".scroll");
  figure.querySelector("button").addEventListener("click", () => {
    dialog.querySelector(".scroll").replaceChildren(...place.children);
    dialog.addEventListener("close", () => place.replaceChildren(...dialog.querySelector(".scroll").children), { once: true });
    dialog.showModal();
  });
}

const source = new Blob([document.getElementById("datatables").textContent], { type: "text/javascript" });
const { default: DataTable } = await import(URL.createObjectURL(source));
new DataTable("#cells", {
  pageLength: 25,
  lengthMenu: [25, 100, { label: "all", value: -1 }],
  order: [],
  ordering: { indicators: false, handler: false },
  columnControl: [{ target: 0, content: ["order"] }, { target: 1, content: ["search"] }],
  columnDefs: [{ targets: "choice", columnControl: [{ target: 0, content: ["order"] }, { target: 1, content: [["searchList"]] }] }],
  layout: { topStart: "search", topEnd: null, bottomStart: ["info", "pageLength"] },
  language: { info: "_START_ to _END_ of _TOTAL_", infoFiltered: "(of _MAX_)", search: "Search:" },
});

// The API's reference, rendered from its own OpenAPI document.

const place = document.getElementById("operations");

function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** A schema as an example-like outline; references are followed, but not into themselves. */
function outline(schema, schemas, seen = []) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return seen.includes(name) ? `<${name}>` : outline(schemas[name], schemas, [...seen, name]);
  }
  if (schema.anyOf) return schema.anyOf.map((one) => outline(one, schemas, seen)).find((one) => one !== "null");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return [outline(schema.items ?? {}, schemas, seen)];
  if (schema.properties) {
    return Object.fromEntries(Object.entries(schema.properties).map(([key, value]) => [key, outline(value, schemas, seen)]));
  }
  return schema.type ?? "any";
}

function parameterRow(parameter) {
  const bounds = ["minimum", "maximum", "pattern", "default"]
    .filter((key) => parameter.schema[key] !== undefined && parameter.schema[key] !== null)
    .map((key) => `${key} ${parameter.schema[key]}`);
  return make("tr", {},
    make("td", {}, make("code", {}, parameter.name)),
    make("td", {}, `${parameter.in}${parameter.required ? ", required" : ""}`),
    make("td", {}, bounds.join(" · ")));
}

function operation(path, method, details, schemas) {
  const summary = make("summary", {},
    make("span", { class: `method ${method}` }, method.toUpperCase()),
    make("code", {}, path),
    make("span", { class: "hint" }, details.summary));
  const body = make("details", {}, summary, make("p", { class: "hint" }, details.description));
  if (details.parameters.length) body.append(make("h3", {}, "Parameters"), make("table", {}, make("tbody", {}, ...details.parameters.map(parameterRow))));
  if (details.requestBody) body.append(make("h3", {}, "Body"), make("p", {}, `${Object.keys(details.requestBody.content).join(" or ")}: ${details.requestBody.description}`));
  for (const [status, answer] of Object.entries(details.responses)) {
    const [media, { schema }] = Object.entries(answer.content)[0];
    body.append(make("h3", {}, `${status} · ${media}`), make("pre", { tabindex: "0" }, JSON.stringify(outline(schema, schemas), null, 2)));
  }
  return make("article", { class: "card" }, body);
}

try {
  const api = await (await fetch("/openapi.json")).json();
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, details]) => ({ path, method, details })));
  place.replaceChildren(make("p", { class: "hint" }, `${api.info.description} Version ${api.info.version}.`));
  for (const [tag, members] of Map.groupBy(operations, ({ details }) => details.tags[0])) {
    place.append(make("h2", { class: "tag" }, tag));
    for (const { path, method, details } of members) place.append(operation(path, method, details, api.components.schemas));
  }
} catch (error) {
  place.replaceChildren(make("p", { class: "notice", role: "alert" }, `The node does not answer: ${error.message}`));
}

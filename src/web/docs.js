// Draws the API reference from /openapi.json (OpenAPI 3.1). Every text goes in as text, never as HTML.
"use strict";

(() => {
  const at = (id) => document.getElementById(id);
  const methods = ["get", "put", "post", "delete", "patch"];
  let spec = null;

  function element(name, props, ...children) {
    const node = Object.assign(document.createElement(name), props);
    node.append(...children.filter((child) => child !== null && child !== ""));
    return node;
  }

  // Words with `code` in back quotes.
  function prose(text) {
    return element("p", { className: "prose" }, ...inline(text));
  }

  function inline(text) {
    return (text || "").split(/`([^`]+)`/).map((part, index) => (index % 2 ? element("code", { textContent: part }) : part));
  }

  function resolve(node) {
    let found = node || {};
    for (let hops = 0; found.$ref && hops < 8; hops += 1) {
      const target = found.$ref.slice(2).split("/").reduce((from, step) => from?.[step.replace(/~1/g, "/").replace(/~0/g, "~")], spec);
      found = { ...target, ...(found.description ? { description: found.description } : {}) };
    }
    return found;
  }

  // One schema out of a schema that may be null, or be put together from parts.
  function flat(node) {
    const schema = resolve(node);
    const many = schema.oneOf || schema.anyOf;
    if (many) {
      const real = many.filter((one) => one.type !== "null");
      if (real.length === 1) return { ...flat(real[0]), ...(schema.description ? { description: schema.description } : {}) };
      const words = real.map(flat);
      if (words.every((one) => one.enum)) return { ...words[0], enum: words.flatMap((one) => one.enum), description: schema.description };
      return { ...schema, oneOf: real, anyOf: undefined };
    }
    if (!schema.allOf) return schema;
    const parts = schema.allOf.map(flat);
    return {
      ...Object.assign({}, ...parts, schema),
      type: "object",
      properties: Object.assign({}, ...parts.map((part) => part.properties), schema.properties),
      required: parts.flatMap((part) => part.required || []).concat(schema.required || []),
    };
  }

  function kind(schema) {
    if (schema.oneOf) return "one of several";
    const type = [schema.type].flat().filter((one) => one && one !== "null").join(" or ") || "any";
    if (type === "array") return `list of ${kind(flat(schema.items))}`;
    return schema.format ? `${type}, ${schema.format}` : type;
  }

  function limits(schema) {
    const parts = [];
    if (schema.enum) parts.push(`One of ${schema.enum.map((word) => `\`${word}\``).join(", ")}.`);
    if (schema.const !== undefined) parts.push(`Always \`${schema.const}\`.`);
    if (schema.minimum !== undefined && schema.maximum !== undefined) parts.push(`From ${schema.minimum} to ${schema.maximum}.`);
    else if (schema.minimum !== undefined) parts.push(`At least ${schema.minimum}.`);
    else if (schema.maximum !== undefined) parts.push(`At most ${schema.maximum}.`);
    if (schema.maxLength !== undefined) parts.push(`At most ${schema.maxLength} characters.`);
    if (schema.maxItems !== undefined) parts.push(`At most ${schema.maxItems} items.`);
    if (schema.pattern) parts.push(`Looks like \`${schema.pattern}\`.`);
    if (schema.default !== undefined && schema.default !== null) parts.push(`Default \`${JSON.stringify(schema.default)}\`.`);
    return parts.join(" ");
  }

  function row(name, node, required, description, depth, place) {
    const schema = flat(node);
    const text = [description || schema.description, limits(schema)].filter(Boolean).join(" ");
    const inner = schema.type === "array" || [schema.type].flat().includes("array") ? flat(schema.items) : schema;
    const more = depth < 4 && (inner.properties || inner.oneOf)
      ? element("details", {}, element("summary", { textContent: `Fields of ${name}` }), fields(inner, depth + 1))
      : null;
    return element("div", {},
      element("dt", {}, element("code", { textContent: name }), element("span", { className: "kind", textContent: place ? `${kind(schema)}, in ${place}` : kind(schema) }),
        required ? element("span", { className: "must", textContent: "required" }) : null),
      element("dd", {}, ...inline(text), more));
  }

  function fields(node, depth = 0) {
    const schema = flat(node);
    if (schema.oneOf) {
      return element("div", {}, ...schema.oneOf.flatMap((one, index) => [element("p", { className: "kind", textContent: `Form ${index + 1}` }), fields(one, depth + 1)]));
    }
    if ([schema.type].flat().includes("array")) return fields(schema.items, depth);
    if (!schema.properties) return element("p", { className: "kind" }, ...inline([kind(schema), schema.description, limits(schema)].filter(Boolean).join(". ")));
    const must = schema.required || [];
    return element("dl", { className: "fields" }, ...Object.entries(schema.properties).map(([name, field]) => row(name, field, must.includes(name), "", depth)));
  }

  // An example: the written one, or one made of the fields' own examples.
  function example(node, depth = 0) {
    const schema = flat(node);
    const written = schema.example ?? schema.examples?.[0] ?? schema.const ?? schema.default ?? schema.enum?.[0];
    if (written !== undefined && written !== null) return written;
    if (schema.oneOf) return example(schema.oneOf[0], depth);
    const type = [schema.type].flat()[0];
    if (schema.properties) {
      const must = schema.required || [];
      const names = Object.entries(schema.properties).filter(([name, field]) => depth < 3 && (must.includes(name) || flat(field).example !== undefined || flat(field).examples));
      return Object.fromEntries(names.map(([name, field]) => [name, example(field, depth + 1)]));
    }
    if (type === "array") return depth < 3 ? [example(schema.items, depth + 1)] : [];
    if (type === "integer" || type === "number") return schema.minimum ?? 0;
    if (type === "boolean") return true;
    return type === "string" ? "…" : {};
  }

  function media(content, title, open) {
    const nodes = [];
    for (const [type, body] of Object.entries(content || {})) {
      nodes.push(element("h4", { textContent: `${title} (${type})` }));
      if (!body.schema) continue;
      const sample = body.example ?? Object.values(body.examples || {})[0]?.value ?? example(body.schema);
      const shown = typeof sample === "string" ? sample : JSON.stringify(sample, null, 2);
      nodes.push(open ? fields(body.schema) : element("details", {}, element("summary", { textContent: "Fields" }), fields(body.schema)));
      if (shown && shown !== "{}" && shown !== "…") nodes.push(element("pre", { tabIndex: 0 }, element("code", { textContent: shown })));
    }
    return nodes;
  }

  function responses(list) {
    return element("dl", { className: "fields" }, ...Object.entries(list || {}).map(([status, node]) => {
      const answer = resolve(node);
      const inner = Object.entries(answer.content || {}).filter(([, body]) => body.schema).map(([type, body]) => {
        const sample = body.example ?? Object.values(body.examples || {})[0]?.value ?? example(body.schema);
        return element("details", {}, element("summary", { textContent: type }), fields(body.schema, 1),
          typeof sample === "object" && Object.keys(sample).length ? element("pre", { tabIndex: 0 }, element("code", { textContent: JSON.stringify(sample, null, 2) })) : null);
      });
      return element("div", {}, element("dt", {}, element("code", { textContent: status })), element("dd", {}, ...inline(answer.description), ...inner));
    }));
  }

  function operation(path, method, shared, node) {
    const id = `${method}${path.replace(/[^A-Za-z0-9]+/g, "-")}`;
    const lines = (node.description || "").trim();
    const title = node.summary || node.operationId || `${method.toUpperCase()} ${path}`;
    const section = element("section", { className: "operation", id },
      element("h3", { textContent: title }),
      element("p", { className: "route" }, element("span", { className: "method", textContent: method.toUpperCase() }), element("span", { textContent: path })),
      lines && lines !== title ? prose(lines) : null);
    const params = [...shared, ...(node.parameters || [])].map(resolve);
    if (params.length) {
      section.append(element("h4", { textContent: "Parameters" }),
        element("dl", { className: "fields" }, ...params.map((one) => row(one.name, one.schema, one.required, one.description, 0, one.in))));
    }
    const body = resolve(node.requestBody);
    if (body.description) section.append(prose(body.description));
    section.append(...media(body.content, "Body", true), element("h4", { textContent: "Answers" }), responses(node.responses));
    return { id, title, section };
  }

  function draw() {
    at("title").textContent = spec.info?.title || "API reference";
    at("lead").textContent = `Version ${spec.info?.version || "?"}`;
    const head = [];
    if (spec.info?.description) head.push(prose(spec.info.description));
    const groups = new Map((spec.tags || []).map((tag) => [tag.name, { about: tag.description, list: [] }]));
    for (const [path, item] of Object.entries(spec.paths || {})) {
      for (const method of methods.filter((one) => item[one])) {
        const tag = item[method].tags?.[0] || "other";
        if (!groups.has(tag)) groups.set(tag, { list: [] });
        groups.get(tag).list.push(operation(path, method, item.parameters || [], item[method]));
      }
    }
    const link = (href, textContent) => element("li", {}, element("a", { href, textContent }));
    for (const [tag, { about, list }] of groups) {
      if (!list.length) continue;
      head.push(element("section", { className: "group" }, element("h2", { textContent: tag }), about ? prose(about) : null, ...list.map((one) => one.section)));
      at("nav").append(element("h2", { textContent: tag }), element("ul", {}, ...list.map((one) => link(`#${one.id}`, one.title))));
    }
    at("content").append(...head);
    if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  }

  const wide = matchMedia("(min-width: 60rem)");
  const fold = () => { at("contents").open = wide.matches; };
  wide.addEventListener("change", fold);
  fold();
  at("nav").addEventListener("click", (event) => { if (!wide.matches && event.target.closest("a")) at("contents").open = false; });

  fetch("openapi.json")
    .then((response) => (response.ok ? response.json() : Promise.reject(new Error(`status ${response.status}`))))
    .then((found) => { spec = found; draw(); })
    .catch((error) => { at("lead").textContent = `The description could not be read: ${error.message}. Reload to try again.`; });
})();

// Prints what the JavaScript and TypeScript files of a folder import, by TypeScript's own parser:
// "file<TAB>file" for each that Node (for JavaScript) or TypeScript finds in the folder.
// node javascript_imports.js <folder of node_modules with typescript> <folder>
const fs = require("fs");
const path = require("path");
const { createRequire } = require("module");
const ts = require(path.join(path.resolve(process.argv[2]), "typescript"));

const root = fs.realpathSync(process.argv[3]);
const options = {
  allowJs: true,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
};

function* files(folder) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const place = path.join(folder, entry.name);
    if (entry.isDirectory() && entry.name !== "node_modules") yield* files(place);
    else if (entry.isFile() && /\.[cm]?[jt]sx?$/.test(entry.name)) yield place;
  }
}

function specifiers(file) {
  const source = ts.createSourceFile(file, fs.readFileSync(file, "utf8"), ts.ScriptTarget.Latest);
  const found = source.referencedFiles.map((each) => path.join(path.dirname(file), each.fileName));
  const add = (node) => node && ts.isStringLiteralLike(node) && found.push(node.text);
  (function visit(node) {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier);
    else if (ts.isExternalModuleReference(node)) add(node.expression);
    else if (ts.isImportTypeNode(node)) add(node.argument.literal);
    else if (ts.isCallExpression(node)) {
      const called = node.expression;
      const imports = called.kind === ts.SyntaxKind.ImportKeyword;
      if (imports || (ts.isIdentifier(called) && called.text === "require")) add(node.arguments[0]);
    }
    ts.forEachChild(node, visit);
  })(source);
  return found;
}

function resolve(name, file) {
  const typed = ts.resolveModuleName(name, file, options, ts.sys).resolvedModule?.resolvedFileName;
  try {
    const run = fs.realpathSync(createRequire(file).resolve(name));
    return /\.[cm]?tsx?$/.test(file) ? (typed ?? run) : run;
  } catch {
    return typed;
  }
}

for (const file of files(root)) {
  for (const name of specifiers(file)) {
    const meant = fs.existsSync(name) && path.isAbsolute(name) ? name : resolve(name, file);
    if (meant?.startsWith(root + path.sep) && !meant.includes("node_modules"))
      console.log(`${path.relative(root, file)}\t${path.relative(root, meant)}`);
  }
}

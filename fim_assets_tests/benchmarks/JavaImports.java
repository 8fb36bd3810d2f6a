import com.sun.source.tree.*;
import com.sun.source.util.*;
import java.nio.file.*;
import java.util.*;
import javax.lang.model.element.*;
import javax.tools.*;

/** Prints, for each file of a folder, "file TAB file" for those whose types javac finds in it. */
public class JavaImports {
    public static void main(String[] arguments) throws Exception {
        Path root = Paths.get(arguments[0]).toRealPath();
        List<Path> files = new ArrayList<>();
        try (var found = Files.walk(root)) {
            found.filter(path -> path.toString().matches(".*(?<!-info)\\.java")).forEach(files::add);
        }
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        var manager = compiler.getStandardFileManager(null, null, null);
        // Whatever is missing, the rest is resolved.
        List<String> flags = List.of("-proc:none", "-XDshould-stop.ifError=FLOW");
        var sources = manager.getJavaFileObjectsFromPaths(files);
        JavacTask task = (JavacTask) compiler.getTask(null, manager, e -> {}, flags, null, sources);
        List<CompilationUnitTree> units = new ArrayList<>();
        task.parse().forEach(units::add);
        task.analyze();
        Trees trees = Trees.instance(task);
        Map<Element, String> declared = new HashMap<>();
        for (var unit : units) {
            for (Tree type : unit.getTypeDecls()) {
                Element element = trees.getElement(TreePath.getPath(unit, type));
                if (element != null) declared.put(element, name(root, unit));
            }
        }
        for (var unit : units) {
            Set<String> meant = new TreeSet<>();
            new TreePathScanner<Void, Void>() {
                private void add() {
                    Element element = trees.getElement(getCurrentPath());
                    if (!(element instanceof TypeElement)) return;
                    while (!(element.getEnclosingElement() instanceof PackageElement)) {
                        element = element.getEnclosingElement();
                        if (element == null) return;
                    }
                    if (declared.containsKey(element)) meant.add(declared.get(element));
                }

                @Override
                public Void visitIdentifier(IdentifierTree node, Void nothing) {
                    add();
                    return super.visitIdentifier(node, nothing);
                }

                @Override
                public Void visitMemberSelect(MemberSelectTree node, Void nothing) {
                    add();
                    return super.visitMemberSelect(node, nothing);
                }
            }.scan(unit, null);
            meant.forEach(file -> System.out.println(name(root, unit) + "\t" + file));
        }
    }

    private static String name(Path root, CompilationUnitTree unit) {
        return root.relativize(Paths.get(unit.getSourceFile().toUri())).toString();
    }
}

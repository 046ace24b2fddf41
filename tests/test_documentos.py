"""Os documentos dizem o que o código faz: os links levam a algum lugar, e os nomes existem onde se diz."""

import ast
import functools
import re
from pathlib import Path

import pytest

RAIZ = Path(__file__).parent.parent
DOCUMENTOS = sorted([*RAIZ.glob("*.md"), *RAIZ.glob("docs/**/*.md")])


@functools.cache
def nomes_de(arquivo: str) -> set[str]:
    """Os nomes que nascem num arquivo do projeto; os das suas classes, como `Classe.membro`."""
    modulo = ast.parse((RAIZ / arquivo).read_text(encoding="utf-8"))
    nomes = set().union(*map(_nascem, modulo.body))
    for classe in (no for no in modulo.body if isinstance(no, ast.ClassDef)):
        atributos = {no.attr for no in _atribuidos(classe) if isinstance(no, ast.Attribute)}
        nomes |= {f"{classe.name}.{membro}" for membro in atributos.union(*map(_nascem, classe.body))}
    return nomes


def _nascem(no: ast.stmt) -> set[str]:
    """O nome de uma função ou de uma classe, ou os que uma atribuição muda."""
    if isinstance(no, (ast.FunctionDef, ast.ClassDef)):
        return {no.name}
    return {nome.id for nome in _atribuidos(no) if isinstance(nome, ast.Name)}


def _atribuidos(no: ast.AST) -> list[ast.AST]:
    return [dentro for dentro in ast.walk(no) if isinstance(getattr(dentro, "ctx", None), ast.Store)]


def ancoras(texto: str) -> set[str]:
    """As âncoras dos títulos de um documento, como as páginas de código as fazem."""
    titulos = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", texto, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", titulo.lower()).replace(" ", "-") for titulo in titulos}


@pytest.mark.parametrize("documento", DOCUMENTOS, ids=lambda arquivo: arquivo.relative_to(RAIZ).as_posix())
def test_os_links_levam_a_algum_lugar(documento):
    """Cada link relativo aponta um arquivo que existe e, se for o caso, um título que ele tem."""
    texto = re.sub(r"```.*?```", "", documento.read_text(encoding="utf-8"), flags=re.DOTALL)
    for destino in re.findall(r"\]\(([^)\s]+)\)", texto):
        arquivo, _, ancora = destino.partition("#")
        if re.match(r"\w+:", destino):
            continue
        alvo = (documento.parent / arquivo).resolve() if arquivo else documento
        assert alvo.exists(), destino
        assert not ancora or ancora in ancoras(alvo.read_text(encoding="utf-8")), destino


def textos_do_programa() -> set[str]:
    """O que o servidor diz a quem se conecta: expressões regulares, com `.+` no lugar do que muda.

    São as frases dos arquivos que lhe respondem, menos as que vão para o log, para o terminal ou para quem lê o código.
    """
    para_outros = {"info", "warning", "error", "relatar", "opcao", "chave", "Analisador", "SystemExit"}
    formas = set()

    def visitar(no: ast.AST) -> None:
        if isinstance(no, ast.Expr) and isinstance(no.value, ast.Constant):
            return  # uma docstring
        if isinstance(no, ast.Call) and getattr(no.func, "attr", getattr(no.func, "id", "")) in para_outros:
            return
        if isinstance(no, (ast.JoinedStr, ast.Constant)):
            partes = getattr(no, "values", [no])
            texto = "".join(str(parte.value) if isinstance(parte, ast.Constant) else "…" for parte in partes)
            if re.match(r"(… )?[A-ZÀ-Ú]\w* .{6}", texto):
                formas.add(re.escape(texto).replace("…", ".+"))
            return
        for dentro in ast.iter_child_nodes(no):
            visitar(dentro)

    for arquivo in "protocolo.py", *(f"atendimento/{nome}.py" for nome in ("identificacao", "filas", "limites")):
        visitar(ast.parse((RAIZ / arquivo).read_text(encoding="utf-8")))
    return formas - {'Campo\\ ".+"\\ inválido:\\ deve\\ ser\\ uma\\ lista\\ de\\ textos\\.'}  # este, só o programa o lê


def test_a_pagina_do_protocolo_diz_todos_os_textos():
    """Todo texto que o servidor pode mandar está na página, e todo texto da página existe no programa."""
    pagina = (RAIZ / "docs" / "protocolo.md").read_text(encoding="utf-8")
    da_pagina = set(re.findall(r"\b(?:AVISO|FIM):([A-ZÀ-Ú][^`\n]+)", pagina))
    do_programa = textos_do_programa()
    assert len(da_pagina) > 40 and len(do_programa) > 30
    assert {forma for forma in do_programa if not any(re.search(forma, texto) for texto in da_pagina)} == set()
    assert {texto for texto in da_pagina if not any(re.match(forma, texto) for forma in do_programa)} == set()


def test_os_nomes_da_ementa():
    """Cada nome do mapa nasce no arquivo que está ao lado dele."""
    texto = (RAIZ / "docs" / "ementa.md").read_text(encoding="utf-8")
    citados = re.findall(r"\[`([\w./]+)`\]\(\.\./([\w./]+)\) (`.*?`)(?=<br>| \|)", texto)
    assert len(citados) == texto.count("](../")
    nomes = [(arquivo, nome) for arquivo, _, varios in citados for nome in re.findall("`(.*?)`", varios)]
    assert len(nomes) > 40 and all(arquivo == no_link for arquivo, no_link, _ in citados)
    for arquivo, nome in nomes:
        assert nome in nomes_de(arquivo), f"{nome} não está em {arquivo}"


@pytest.mark.parametrize("documento", ["README.md", "docs/arquitetura.md"])
def test_as_linhas_do_caminho_obrigatorio(documento):
    """O tamanho que se promete a quem lê é o dos cinco arquivos."""
    caminho = "protocolo.py", "cliente.py", "servidor.py", "atendimento/filas.py", "atendimento/conexao.py"
    linhas = sum(len((RAIZ / arquivo).read_text(encoding="utf-8").splitlines()) for arquivo in caminho)
    assert f"{linhas} linhas" in (RAIZ / documento).read_text(encoding="utf-8")

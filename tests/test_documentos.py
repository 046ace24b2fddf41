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


def test_os_nomes_da_ementa():
    """Cada nome do mapa nasce no arquivo que está ao lado dele."""
    texto = (RAIZ / "docs" / "ementa.md").read_text(encoding="utf-8")
    citados = re.findall(r"\[`([\w./]+)`\]\(\.\./([\w./]+)\) `([\w.]+)`", texto)
    assert len(citados) > 40 and len(citados) == texto.count("](../")
    for arquivo, no_link, nome in citados:
        assert arquivo == no_link and nome in nomes_de(arquivo), f"{nome} não está em {arquivo}"

"""Os documentos dizem o que o código faz: os links levam a algum lugar, e as linhas são as que dizem ser."""

import re
from pathlib import Path

import pytest

RAIZ = Path(__file__).parent.parent
DOCUMENTOS = sorted([*RAIZ.glob("*.md"), *RAIZ.glob("docs/**/*.md")])


def ancoras(texto):
    """As âncoras dos títulos de um documento, como as páginas de código as fazem."""
    titulos = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", texto, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", titulo.lower()).replace(" ", "-") for titulo in titulos}


@pytest.mark.parametrize("documento", DOCUMENTOS, ids=lambda arquivo: arquivo.relative_to(RAIZ).as_posix())
def test_os_links_levam_a_algum_lugar(documento):
    """Cada link relativo aponta um arquivo que existe e, se for o caso, um título que ele tem."""
    texto = re.sub(r"```.*?```", "", documento.read_text(encoding="utf-8"), flags=re.DOTALL)
    for destino in re.findall(r"\]\(([^)\s]+)\)", texto):
        if re.match(r"\w+:", destino):
            continue
        arquivo, _, ancora = destino.partition("#")
        alvo = (documento.parent / arquivo).resolve() if arquivo else documento
        assert alvo.exists(), destino
        if ancora and not re.fullmatch(r"L\d+", ancora):
            assert ancora in ancoras(alvo.read_text(encoding="utf-8")), destino


def linhas_da_ementa():
    texto = (RAIZ / "docs" / "ementa.md").read_text(encoding="utf-8")
    return re.findall(r"\[`([\w.]+):(\d+)`\]\(\.\./([\w.]+)#L(\d+)\) `([\w.]+)`", texto)


def test_as_linhas_da_ementa():
    """Cada linha do mapa é onde nasce o nome que está ao lado dela; se não, diz-se qual é a certa."""
    citadas = linhas_da_ementa()
    assert len(citadas) > 40
    for arquivo, numero, no_link, no_fim, nome in citadas:
        assert (arquivo, numero) == (no_link, no_fim)
        membro = nome.rpartition(".")[2]
        nasce = re.compile(rf"\s*(?:(?:def|class) {membro}\b|(?:self\.)?{membro}\s*(?::[^=]*)?=)")
        linhas = (RAIZ / arquivo).read_text(encoding="utf-8").split("\n")
        certas = [n for n, linha in enumerate(linhas, start=1) if nasce.match(linha)]
        assert int(numero) in certas, f"{nome} está em {arquivo}, linha {certas}, e não {numero}"

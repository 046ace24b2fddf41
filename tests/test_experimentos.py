"""Os experimentos da aula: cada um tem de mostrar o erro e o conserto, sempre."""

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import filas
import protocolo
import servidor

PASTA = Path(__file__).parent.parent / "docs" / "experimentos"
EXPERIMENTOS = sorted(arquivo.stem for arquivo in PASTA.glob("0*.py"))
DEMORADOS = {"07_comboio_da_gil"}
PRAZO = 60  # segundos


def iniciar(experimento):
    """Um experimento que roda sozinho, de outra pasta que não a do projeto."""
    comando = [sys.executable, str(PASTA / f"{experimento}.py")]
    saida = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8"}
    return subprocess.Popen(comando, cwd=PASTA.parent, **saida)


@pytest.fixture(scope="module")
def rodando():
    """Os rápidos, todos ao mesmo tempo: um não pode depender de ter a máquina só para si."""
    with contextlib.ExitStack() as pilha:
        processos = {nome: pilha.enter_context(iniciar(nome)) for nome in EXPERIMENTOS if nome not in DEMORADOS}
        yield processos
        for processo in processos.values():
            processo.kill()


def conferir(processo):
    saida, _ = processo.communicate(timeout=PRAZO)
    assert processo.returncode == 0, saida
    assert "Traceback" not in saida
    return saida


def test_sao_sete():
    """Nenhum experimento ficou de fora por causa do nome."""
    assert len(EXPERIMENTOS) == 7


@pytest.mark.parametrize("experimento", [nome for nome in EXPERIMENTOS if nome not in DEMORADOS])
def test_experimento(rodando, experimento):
    """O experimento mostra o erro, depois o conserto, e aponta um lugar do projeto que existe."""
    saida = conferir(rodando[experimento])
    assert 0 < saida.index("ERRADO") < saida.index("CERTO") < saida.index("No projeto: ")
    modulos = {"filas.py": filas, "protocolo.py": protocolo, "servidor.py": servidor}
    no_projeto = saida.partition("No projeto: ")[2]
    citados = [modulos[nome] for nome in re.findall(r"\w+\.py", no_projeto)]
    assert citados
    for classe, membro in re.findall(r"\b([A-Z]\w+)\.(\w+)", no_projeto):
        donos = [getattr(modulo, classe) for modulo in citados if hasattr(modulo, classe)]
        assert donos and (hasattr(donos[0], membro) or hasattr(donos[0](), membro)), f"{classe}.{membro}"


@pytest.mark.demorado
@pytest.mark.parametrize("experimento", sorted(DEMORADOS))
def test_experimento_demorado(experimento):
    """O que mede roda até o fim e mostra o que mediu, seja o que for."""
    with iniciar(experimento) as processo:
        assert "No projeto: " in conferir(processo) or sys.platform != "linux"

"""A turma simulada de `docs/turma.py`, contra o servidor que ela sobe e contra outros."""

import _thread
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from participante import PRAZO, Participante

RAIZ = Path(__file__).parent.parent
sys.path.insert(0, str(RAIZ / "docs"))

import turma  # noqa: E402
from protocolo import Json, Tipo  # noqa: E402

PROGRAMA = [sys.executable, str(RAIZ / "docs" / "turma.py")]
AMBIENTE = {nome: valor for nome, valor in os.environ.items() if nome != "FILA_SENHA"} | {"PYTHONIOENCODING": "utf-8"}
SINAIS = [getattr(signal, nome) for nome in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, nome)]


@pytest.fixture
def rodar(monkeypatch, capsys):
    """Roda o programa neste processo, depressa, contra um servidor dado: código, saída e erros."""

    def rodar(endereco, *opcoes: object) -> tuple[int, str, str]:
        depressa = ("--ritmo", 10_000, "--semente", 7)
        monkeypatch.setattr(sys, "argv", ["turma.py", "--porta", str(endereco[1]), *map(str, depressa + opcoes)])
        vigia = threading.Timer(PRAZO, _thread.interrupt_main)  # uma aula que não acaba é interrompida
        vigia.start()
        try:
            codigo = turma.main()
        finally:
            vigia.cancel()
            vigia.join()
        saida, erros = capsys.readouterr()
        assert "interrompida" not in saida or codigo == 1, saida
        return codigo, saida, erros

    monkeypatch.delenv("FILA_SENHA", raising=False)
    antes = {sinal: signal.getsignal(sinal) for sinal in SINAIS}
    yield rodar
    for sinal, tratador in antes.items():
        signal.signal(sinal, tratador)


def so_um_jeito(monkeypatch, jeito: str) -> None:
    monkeypatch.setattr(turma, "JEITOS", (jeito,))


def numeros(resumo: str) -> tuple[int, ...]:
    """Atendimentos, desistências, a soma de quem atendeu quantos, mensagens ditas e ouvidas."""
    atendimentos, desistencias = map(int, re.search(r"(\d+) atendimentos?, (\d+) desistências? na fila", resumo).groups())
    atenderam = sum(map(int, re.findall(r" (\d+)", re.search(r"Atenderam: (.*)", resumo)[1])))
    ditas, ouvidas = map(int, re.search(r"(\d+) ditas, (\d+) ouvidas", resumo).groups())
    return atendimentos, desistencias, atenderam, ditas, ouvidas


# --- A aula inteira -------------------------------------------------------------------------------


def test_a_turma_sobe_o_seu_servidor_e_tudo_o_que_se_diz_e_ouvido():
    """Doze alunos e três atendentes, metade em JSON, com departamentos e senha: nada se perde, e o resumo fecha."""
    opcoes = "--ritmo 1000 --semente 7 --json --departamentos Vendas,Suporte --senha abre-te".split()
    aula = subprocess.run([*PROGRAMA, *opcoes], capture_output=True, env=AMBIENTE, encoding="utf-8", timeout=PRAZO)
    assert (aula.returncode, aula.stderr) == (0, "")
    historia, resumo = aula.stdout.split("Resumo da aula:")
    atendimentos, desistencias, atenderam, ditas, ouvidas = numeros(resumo)
    assert atendimentos + desistencias == 12
    assert atenderam == atendimentos
    assert ditas == ouvidas == len(re.findall(r"^ *\d+:\d\d  \[", historia, re.MULTILINE)) > 50
    assert "ouvidas: batem." in resumo
    assert not [frase for frase in turma.PARA_GENTE_DE_FORA if frase in historia]


def test_o_resumo_da_turma_concorda_com_o_do_servidor(servidor, rodar):
    """Os atendimentos e as desistências que a turma conta são os que o servidor contou, também em JSON."""
    codigo, saida, erros = rodar(servidor.endereco, "--alunos", 6, "--atendentes", 2, "--json")
    assert (codigo, erros) == (0, "")
    assert sum(isinstance(conexao.formato, Json) for conexao in servidor.conexoes) == (6 + 2) / 2
    (do_servidor,) = servidor.filas.turno.resumo()
    assert re.search(r"\d+ atendimentos?, \d+ desistências?", do_servidor)[0] in saida
    assert "ouvidas: batem." in saida


@pytest.mark.parametrize(
    "jeito, conta",
    [("fecha a janela", "fechou a janela"), ("encerra", "encerrou a conversa"), ("fala na fila", "[")],
    ids=["fecha a janela", "encerra", "fala na fila"],
)
def test_de_qualquer_jeito_que_um_aluno_saia_nenhuma_mensagem_se_perde(jeito, conta, monkeypatch, servidor, rodar):
    """Dois alunos do mesmo jeito, um atendente que ainda toma café entre os dois: as mensagens batem."""
    so_um_jeito(monkeypatch, jeito)
    codigo, saida, _ = rodar(servidor.endereco, "--alunos", 2, "--atendentes", 1)
    assert codigo == 0
    assert "2 atendimentos, 0 desistências" in saida
    assert saida.count(conta) >= 2
    assert saida.count("foi tomar um café.") == 1


def test_quem_desiste_sai_da_fila_sem_ser_atendido(monkeypatch, servidor, rodar):
    """Sem ninguém que atenda, a paciência acaba, e o resumo conta a desistência."""
    so_um_jeito(monkeypatch, "desiste")
    codigo, saida, _ = rodar(servidor.endereco, "--alunos", 1, "--atendentes", 0)
    assert codigo == 0
    assert numeros(saida) == (0, 1, 0, 0, 0)
    assert "desistiu de esperar." in saida


def test_uma_pessoa_pode_atender_a_turma(monkeypatch, servidor, rodar):
    """Com `--atendentes 0` o aluno espera por quem vier, e conversa com ele até o fim."""
    so_um_jeito(monkeypatch, "espera")
    pessoa = servidor.atendente("Prof. Lia", "FILA:OK")
    ouvidas: list[str] = []

    def atender() -> None:
        while not (linha := pessoa.linha()).startswith("FIM:"):
            if linha.startswith("["):
                ouvidas.append(linha.partition("]: ")[2])
                pessoa.envia("Sei." if ouvidas[-1] not in turma.DESPEDIDAS else "FIM:")

    atendimento = threading.Thread(target=atender, daemon=True)
    atendimento.start()
    codigo, saida, _ = rodar(servidor.endereco, "--alunos", 1, "--atendentes", 0)
    atendimento.join(PRAZO)
    assert not atendimento.is_alive()
    assert codigo == 0
    assert ouvidas[-1] in turma.DESPEDIDAS and len(ouvidas) > 2
    assert "Atenderam: Prof. Lia 1." in saida


# --- A mesma semente ------------------------------------------------------------------------------


def retrato(semente: int) -> list[tuple]:
    """Tudo o que se sabe de cada personagem antes de a aula começar, e o acaso que ele vai ter."""
    alunos, atendentes = turma.criar_turma(turma.Aula(("", 0), semente, 1, None, 5.0, 100), 500, metade_json=True)
    dos_alunos = [(a.nome, a.jeito, a.falas, a.chega_em, a.paciencia, a.velocidade, a.acaso.random()) for a in alunos]
    return dos_alunos + [(a.nome, a.toma_cafe, a.velocidade, a.acaso.random()) for a in atendentes]


def test_a_mesma_semente_da_as_mesmas_pessoas_com_as_mesmas_falas():
    """Duas turmas da mesma semente são iguais; de outra, não."""
    assert retrato(7) == retrato(7) != retrato(8)


def test_na_maior_turma_ninguem_tem_o_nome_de_outro():
    """Seiscentos nomes distintos: por eles se conferem as mensagens."""
    nomes = [pessoa[0] for pessoa in retrato(7)]
    assert len(set(nomes)) == len(nomes) == 600


def test_nenhuma_fala_se_repete_nos_roteiros():
    """O atendente sabe o que responder só pelo que lê."""
    falas = [fala for roteiro in turma.ROTEIROS for fala, _ in roteiro] + list(turma.DESPEDIDAS)
    assert len(set(falas)) == len(falas)


# --- Um servidor que erra -------------------------------------------------------------------------


def test_um_servidor_que_repete_mensagens_e_apanhado(servidor, rodar, monkeypatch):
    """Cada mensagem dos atendentes chega duas vezes: código 1, e o resumo diz quais sobram."""
    repassar = servidor.filas.repassar_chat

    def repetir(eu, mensagem):
        if eu.tipo is Tipo.ATENDENTE:
            mensagem.textos = [*mensagem.textos, *mensagem.textos]
        return repassar(eu, mensagem)

    monkeypatch.setattr(servidor.filas, "repassar_chat", repetir)
    so_um_jeito(monkeypatch, "fala na fila")
    codigo, saida, _ = rodar(servidor.endereco, "--alunos", 1, "--atendentes", 1)
    assert codigo == 1
    assert "ouvidas: não batem." in saida
    assert re.search(r"^ +não foi dita: de .+ para .+: .+", saida, re.MULTILINE)


@pytest.mark.parametrize(
    "ouvidas, par, frases",
    [
        (["a", "b"], "Bia", []),
        (["a"], "Bia", ["não foi ouvida: de Ana para Bia: b"]),
        (["a", "b", "b"], "Bia", ["não foi dita: de Ana para Bia: b"]),
        (["b", "a"], "Bia", ["fora de ordem: de Ana para Bia: b / a"]),
        (["a"], "Zé de fora", []),
    ],
    ids=["todas", "uma se perde", "uma se repete", "trocadas", "com gente de fora"],
)
def test_as_contas_comparam_o_dito_com_o_ouvido(ouvidas, par, frases):
    """As diferenças são ditas uma a uma; as conversas com gente de fora não se conferem."""
    aula = turma.Aula(("", 0), 7, 1, None, 5.0, 1)
    ana = turma.Atendente(aula, "Ana", 0, False, toma_cafe=False)
    bia = turma.Aluno(aula, "Bia", 0, False, "espera")
    contas = turma.Contas([bia], [ana])
    contas.anotar(turma.Acontecimento(ana, "atende", par))
    for texto in ("a", "b"):
        contas.anotar(turma.Acontecimento(ana, "disse", par, texto))
    for texto in ouvidas:
        contas.anotar(turma.Acontecimento(bia, "ouviu", "Ana", texto))
    assert contas.diferencas() == frases
    assert contas.atendidos["Ana"] == (par == "Zé de fora")


# --- O que dá errado ------------------------------------------------------------------------------


def test_sem_servidor_a_turma_diz_que_ele_nao_esta_la(rodar):
    """Código 1, uma frase, e nenhum resumo."""
    with socket.socket() as surdo:
        surdo.bind(("127.0.0.1", 0))  # sem `listen`: a porta está ocupada, e recusa
        codigo, saida, erros = rodar(surdo.getsockname())
    assert codigo == 1
    assert erros == "Não foi possível conectar ao servidor. Verifique se ele está online.\n"
    assert "Resumo" not in saida


@pytest.mark.parametrize(
    "do_servidor, opcoes, frase",
    [
        ({"maximo": 1}, (), "Servidor lotado; tente mais tarde."),
        ({"senha": "abre-te"}, (), "O servidor pede a senha dos atendentes: use --senha ou a variável FILA_SENHA."),
        ({"senha": "abre-te"}, ("--senha", "sésamo"), "Senha incorreta."),
    ],
    ids=["lotado", "sem senha", "senha errada"],
)
def test_o_que_o_servidor_recusa_acaba_com_a_aula(do_servidor, opcoes, frase, abrir_servidor, rodar):
    """Código 1, e o motivo como o servidor o deu."""
    codigo, _, erros = rodar(abrir_servidor(**do_servidor).endereco, *opcoes)
    assert (codigo, erros) == (1, f"{frase}\n")


@pytest.mark.parametrize(
    "opcoes, frase",
    [
        (("--departamentos", "Vendas"), "--departamentos é só para o servidor que a turma sobe"),
        (("--alunos", "0", "--atendentes", "0"), "uma turma tem ao menos um aluno ou um atendente"),
        (("--ritmo", "0"), "--ritmo: use um inteiro de 1 a 10000, e não '0'"),
    ],
    ids=["departamentos de outro", "sem ninguém", "ritmo zero"],
)
def test_uso_errado_e_codigo_2(opcoes, frase, rodar, capsys):
    """A frase diz o que está errado, em português."""
    with pytest.raises(SystemExit) as saida:
        rodar(("127.0.0.1", 1), *opcoes)
    assert saida.value.code == 2
    assert frase in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="no Windows não se manda um Ctrl+C a um processo só")
def test_ctrl_c_no_meio_encerra_com_o_resumo_e_leva_o_servidor_junto():
    """No ritmo humano, com uma conversa começada: código 0, o que houve até ali, e nenhum processo fica."""
    comando = [*PROGRAMA, "--alunos", "2", "--atendentes", "1", "--intervalo", "0.001", "--senha", "abre-te"]
    canos = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
    with subprocess.Popen(comando, env=AMBIENTE, **canos) as aula:
        vigia = threading.Timer(PRAZO, aula.kill)
        vigia.start()
        porta = int(re.search(r"porta (\d+)", aula.stdout.readline())[1])
        while " atende " not in (linha := aula.stdout.readline()):
            assert linha, "a aula acabou antes de começar"
        intruso = Participante(("127.0.0.1", porta))
        intruso.envia("ATENDENTE")
        intruso.espera("SENHA:")  # o servidor da turma tem a senha dela
        intruso.fecha()
        aula.send_signal(signal.SIGINT)
        resto = aula.stdout.read()  # até o fim: o servidor herdou os erros, e enquanto vivesse não haveria fim
        codigo = aula.wait(PRAZO)
        vigia.cancel()
        vigia.join()
    assert codigo == 0
    assert "Resumo da aula, interrompida:" in resto and "1 atendimento, 0 desistências na fila" in resto
    assert "Traceback" not in resto
    with pytest.raises(ConnectionRefusedError):
        Participante(("127.0.0.1", porta))


# --- A tela ---------------------------------------------------------------------------------------


def test_num_terminal_o_quadro_e_refeito_no_lugar():
    """No fim há uma linha por atendente, e não uma por acontecimento; nenhuma passa da largura."""
    pytest.importorskip("pty", reason="sem pseudoterminais (Windows)")
    pytest.importorskip("colorama")
    from pseudoterminal import NoTerminal

    with NoTerminal("docs/turma.py", "--ritmo", "1000", "--semente", "7", "--alunos", "5", colunas=60) as terminal:
        tela = terminal.espera_fim()
    titulo, quadro = tela.split("Ctrl+C encerra.")
    quadro, resumo = quadro.split("Resumo da aula:")
    linhas = [linha for linha in quadro.split("\n") if linha.strip()]
    assert "por chegar 0" in linhas[0] and linhas[1].split() == ["fila", "ninguém"]
    assert len(linhas) == 2 + 3
    for linha in linhas[2:]:
        assert re.match(r"  (\S+ \S+) +0:0\d  [●○‖]  ", linha)[1] in resumo.replace("\n", "")
    assert max(map(len, linhas)) < 60
